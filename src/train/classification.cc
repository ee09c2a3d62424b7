#include "train/classification.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace adder {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Row and column sums of a confusion matrix, and its diagonal.
struct Margins {
    std::vector<double> truth, predicted, right;

    Margins(const std::vector<int64_t>& confusion, int64_t C)
        : truth(static_cast<size_t>(C)), predicted(static_cast<size_t>(C)), right(static_cast<size_t>(C)) {
        for (int64_t i = 0; i < C; ++i)
            for (int64_t j = 0; j < C; ++j) {
                const auto count = static_cast<double>(confusion[static_cast<size_t>(i * C + j)]);
                truth[static_cast<size_t>(i)] += count;
                predicted[static_cast<size_t>(j)] += count;
                if (i == j) right[static_cast<size_t>(i)] = count;
            }
    }
};

double macro_f1(const Margins& m) {
    double sum = 0, classes = 0;
    for (size_t c = 0; c < m.truth.size(); ++c) {
        if (m.truth[c] + m.predicted[c] == 0) continue;
        sum += 2 * m.right[c] / (m.truth[c] + m.predicted[c]);
        ++classes;
    }
    return sum / classes;
}

double mcc(const Margins& m, double n) {
    double right = 0, both = 0, truth2 = 0, predicted2 = 0;
    for (size_t c = 0; c < m.truth.size(); ++c) {
        right += m.right[c];
        both += m.truth[c] * m.predicted[c];
        truth2 += m.truth[c] * m.truth[c];
        predicted2 += m.predicted[c] * m.predicted[c];
    }
    const double spread = (n * n - truth2) * (n * n - predicted2);
    return spread > 0 ? (right * n - both) / std::sqrt(spread) : 0;
}

double mean_auroc(std::span<const int32_t> truth, std::span<const double> scores, int64_t C) {
    std::vector<double> of_class(truth.size());
    std::vector<uint8_t> positive(truth.size());
    double sum = 0, classes = 0;
    for (int64_t c = C == 2 ? 1 : 0; c < C; ++c) {
        for (size_t i = 0; i < truth.size(); ++i) {
            of_class[i] = scores[i * static_cast<size_t>(C) + static_cast<size_t>(c)];
            positive[i] = truth[i] == c;
        }
        const double area = auroc(of_class, positive);
        if (std::isnan(area)) continue;
        sum += area;
        ++classes;
    }
    return classes > 0 ? sum / classes : kNaN;
}

}  // namespace

double auroc(std::span<const double> scores, std::span<const uint8_t> positive) {
    CHECK(scores.size() == positive.size());
    std::vector<int64_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    const auto score = [&](int64_t i) { return scores[static_cast<size_t>(i)]; };
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return score(a) < score(b); });
    // Pairs (negative, positive) in the right order, equal scores half.
    double pairs = 0, negatives = 0, positives = 0;
    for (size_t i = 0; i < order.size();) {
        double here_positive = 0, here = 0;
        for (const double tie = score(order[i]); i < order.size() && score(order[i]) == tie; ++i, ++here)
            here_positive += positive[static_cast<size_t>(order[i])] != 0;
        const double here_negative = here - here_positive;
        pairs += here_positive * (negatives + 0.5 * here_negative);
        negatives += here_negative;
        positives += here_positive;
    }
    return positives > 0 && negatives > 0 ? pairs / (positives * negatives) : kNaN;
}

ClassificationMetrics classification_metrics(std::span<const int32_t> truth, std::span<const double> probabilities,
                                             int64_t n_classes) {
    const int64_t n = static_cast<int64_t>(truth.size()), C = n_classes;
    CHECK(n >= 1 && C >= 2 && static_cast<int64_t>(probabilities.size()) == n * C);
    ClassificationMetrics m;
    m.n = n;
    m.n_classes = C;
    m.confusion.assign(static_cast<size_t>(C * C), 0);
    int64_t right = 0;
    for (int64_t i = 0; i < n; ++i) {
        const double* row = probabilities.data() + i * C;
        for (int64_t c = 0; c < C; ++c)
            if (std::isnan(row[c])) fail("[classification] the score of example {} for class {} is NaN", i, c);
        const int32_t t = truth[static_cast<size_t>(i)];
        CHECK(t >= 0 && t < C);
        const int64_t predicted = std::max_element(row, row + C) - row;
        ++m.confusion[static_cast<size_t>(t * C + predicted)];
        right += predicted == t;
    }
    const Margins margins(m.confusion, C);
    m.accuracy = static_cast<double>(right) / static_cast<double>(n);
    m.macro_f1 = macro_f1(margins);
    m.mcc = mcc(margins, static_cast<double>(n));
    m.auroc = mean_auroc(truth, probabilities, C);
    return m;
}

}  // namespace adder
