#include "train/linear_probe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>

#include "core/error.h"
#include "train/folds.h"

namespace adder {

namespace {

constexpr int64_t kInnerFolds = 3;
constexpr double kChoiceTolerance = 1e-7, kFinalTolerance = 1e-12;

// Penalty 10^(1 - i / 2): half decades from 10 down to 1e-5.
constexpr int kPenalties = 13;
double penalty(int i) {
    return std::pow(10.0, 1 - 0.5 * i);
}
// A loss that much above the best so far ends the search at once, a lesser one when it comes twice.
constexpr double kFarWorse = 1.05;

template <class T>
std::vector<T> picked(const std::vector<T>& from, std::span<const int64_t> rows) {
    std::vector<T> to;
    if (!from.empty())
        for (const int64_t i : rows) to.push_back(from[static_cast<size_t>(i)]);
    return to;
}

bool has_two_classes(const ProbeExamples& e, std::span<const int64_t> rows) {
    return std::any_of(rows.begin(), rows.end(), [&](int64_t i) {
        return e.labels[static_cast<size_t>(i)] != e.labels[static_cast<size_t>(rows[0])];
    });
}

// Where choices are tried: pairs of a training and a held-out part.
std::vector<ProbeFold> inner_folds(const ProbeExamples& e, const ProbeFold& outer) {
    if (!has_two_classes(e, outer.train))
        fail(
            "[probe] the {} training examples are all of one class; hint: more examples of the others, or larger "
            "groups "
            "divided",
            outer.train.size());
    if (!outer.valid.empty()) return {{outer.train, {}, outer.valid}};
    const std::vector<int32_t> labels = picked(e.labels, outer.train), groups = picked(e.groups, outer.train);
    const auto units = groups.empty() ? labels.size() : std::set<int32_t>(groups.begin(), groups.end()).size();
    const auto n_folds = static_cast<int32_t>(std::min<size_t>(kInnerFolds, units));
    const std::vector<int32_t> fold = stratified_folds(labels, groups, n_folds, e.seed);
    std::vector<ProbeFold> folds;
    for (int32_t f = 0; f < n_folds; ++f) {
        ProbeFold inner;
        for (size_t i = 0; i < fold.size(); ++i) (fold[i] == f ? inner.test : inner.train).push_back(outer.train[i]);
        if (has_two_classes(e, inner.train)) folds.push_back(std::move(inner));
    }
    if (folds.empty())
        fail("[probe] {} training examples are too few to choose a penalty; hint: at least two of each class",
             labels.size());
    return folds;
}

// Mean log loss of a model on examples of the classes that it knows; adds to sum and count.
void add_log_loss(ThreadPool& pool, const LogisticModel& model, const FeatureRows& features, const ProbeExamples& e,
                  std::span<const int64_t> rows, double& sum, int64_t& count) {
    const std::vector<double> p = predict(pool, model, features, rows);
    for (size_t i = 0; i < rows.size(); ++i) {
        const int32_t label = e.labels[static_cast<size_t>(rows[i])];
        if (!std::binary_search(model.classes.begin(), model.classes.end(), label)) continue;
        const double own = p[i * static_cast<size_t>(e.n_classes) + static_cast<size_t>(label)];
        sum -= std::log(std::max(own, std::numeric_limits<double>::min()));
        ++count;
    }
}

// Searches the penalty of one feature set.
class PenaltySearch {
  public:
    PenaltySearch(ThreadPool& pool, const FeatureRows& features, const ProbeExamples& e,
                  std::span<const ProbeFold> inner)
        : pool_(pool), features_(features), examples_(e), inner_(inner) {
        for (const ProbeFold& f : inner)
            fits_.push_back(std::make_unique<LogisticRegression>(pool, features, e.labels, f.train, e.n_classes));
    }

    // Whole decades from the strongest on, then the half decades beside the best.
    void run() {
        for (int i = 0, worse = 0; i < kPenalties && worse < 2; i += 2) {
            const double loss = try_penalty(i);
            if (loss > best_loss_ * kFarWorse) break;
            worse = loss > best_loss_ ? worse + 1 : 0;
        }
        const int middle = best_;
        for (const int i : {middle - 1, middle + 1})
            if (i >= 0 && i < kPenalties) try_penalty(i);
    }
    double loss() const { return best_loss_; }
    double l2() const { return penalty(best_); }

  private:
    double try_penalty(int i) {
        double sum = 0;
        int64_t count = 0;
        for (size_t f = 0; f < inner_.size(); ++f)
            add_log_loss(pool_, fits_[f]->fit(penalty(i), kChoiceTolerance), features_, examples_, inner_[f].test, sum,
                         count);
        const double loss = count > 0 ? sum / static_cast<double>(count) : 0;
        if (loss < best_loss_) {
            best_loss_ = loss;
            best_ = i;
        }
        return loss;
    }

    ThreadPool& pool_;
    FeatureRows features_;
    const ProbeExamples& examples_;
    std::span<const ProbeFold> inner_;
    std::vector<std::unique_ptr<LogisticRegression>> fits_;
    double best_loss_ = std::numeric_limits<double>::infinity();
    int best_ = 0;
};

}  // namespace

std::vector<ProbeFold> cross_validation(const ProbeExamples& examples, int32_t n_folds) {
    const std::vector<int32_t> fold = stratified_folds(examples.labels, examples.groups, n_folds, examples.seed);
    std::vector<ProbeFold> folds(static_cast<size_t>(n_folds));
    for (size_t i = 0; i < fold.size(); ++i)
        for (int32_t f = 0; f < n_folds; ++f) {
            ProbeFold& to = folds[static_cast<size_t>(f)];
            (fold[i] == f ? to.test : to.train).push_back(static_cast<int64_t>(i));
        }
    return folds;
}

ProbeResult probe(ThreadPool& pool, std::span<const FeatureRows> candidates, const ProbeExamples& examples,
                  std::span<const ProbeFold> folds, const std::function<void(int64_t)>& fold_done) {
    CHECK(!candidates.empty());
    ProbeResult result;
    for (size_t f = 0; f < folds.size(); ++f) {
        const ProbeFold& fold = folds[f];
        const std::vector<ProbeFold> inner = inner_folds(examples, fold);
        double best_loss = std::numeric_limits<double>::infinity();
        ProbeChoice choice;
        for (size_t c = 0; c < candidates.size(); ++c) {
            PenaltySearch search(pool, candidates[c], examples, inner);
            search.run();
            if (search.loss() >= best_loss) continue;
            best_loss = search.loss();
            choice = {static_cast<int64_t>(c), search.l2()};
        }
        const FeatureRows& features = candidates[static_cast<size_t>(choice.candidate)];
        LogisticRegression fit(pool, features, examples.labels, fold.train, examples.n_classes);
        const std::vector<double> p = predict(pool, fit.fit(choice.l2, kFinalTolerance), features, fold.test);
        result.probabilities.insert(result.probabilities.end(), p.begin(), p.end());
        for (const int32_t label : picked(examples.labels, fold.test)) result.truth.push_back(label);
        result.choices.push_back(choice);
        if (fold_done) fold_done(static_cast<int64_t>(f));
    }
    return result;
}

ProbeResult majority_probe(const ProbeExamples& examples, std::span<const ProbeFold> folds) {
    ProbeResult result;
    for (const ProbeFold& fold : folds) {
        std::vector<int64_t> counts(static_cast<size_t>(examples.n_classes));
        for (const int32_t label : picked(examples.labels, fold.train)) ++counts[static_cast<size_t>(label)];
        const auto most = std::max_element(counts.begin(), counts.end()) - counts.begin();
        for (const int32_t label : picked(examples.labels, fold.test)) {
            result.truth.push_back(label);
            for (int64_t c = 0; c < examples.n_classes; ++c) result.probabilities.push_back(c == most ? 1 : 0);
        }
    }
    return result;
}

}  // namespace adder
