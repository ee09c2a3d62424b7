#include "train/logistic.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "core/ceil_div.h"
#include "core/error.h"
#include "kernels/common/isa.h"
#include "train/cholesky.h"
#include "train/lbfgs.h"

namespace adder {

namespace {

constexpr int64_t kMostTasks = 64, kTile = 256, kColumns = 2048;
// Above this many features the preconditioner's factorisation would cost more than it saves.
constexpr int64_t kMostGramFeatures = 4096;

// n rows in at most kMostTasks runs of whole blocks; a block of d features fits the level-2 cache.
struct RowBlocks {
    int64_t n, rows, blocks, tasks;

    RowBlocks(int64_t n_, int64_t d)
        : n(n_),
          rows(std::clamp<int64_t>((1 << 17) / std::max<int64_t>(d, 1), 16, 256)),
          blocks(ceil_div(n, rows)),
          tasks(std::min(blocks, kMostTasks)) {}
    int64_t first_block(int64_t task) const { return task * blocks / tasks; }
    int64_t size(int64_t block) const { return std::min(rows, n - block * rows); }
};

// z of examples rows[first] to rows[first + count), (count,d).
void standardised(const FeatureRows& x, const LogisticModel& m, const int64_t* rows, int64_t count, double* z) {
    for (int64_t i = 0; i < count; ++i) {
        const float* from = x.row(rows[i]);
        double* to = z + i * x.d;
        for (int64_t j = 0; j < x.d; ++j)
            to[j] = (from[j] - m.mean[static_cast<size_t>(j)]) * m.scale[static_cast<size_t>(j)];
    }
}

// scores (count,K) = z W^T + b
void scores_of(const double* z, int64_t count, int64_t d, int64_t K, const double* w, const double* bias,
               double* scores) {
    for (int64_t i = 0; i < count; ++i) std::copy(bias, bias + K, scores + i * K);
    const int rows = static_cast<int>(count), columns = static_cast<int>(d), k = static_cast<int>(K);
    if (K == 1)
        cblas_dgemv(CblasRowMajor, CblasNoTrans, rows, columns, 1, z, columns, w, 1, 1, scores, 1);
    else
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, k, columns, 1, z, columns, w, columns, 1, scores, k);
}

// Scores of one example -> its probabilities, of K or (K = 1) of 2 classes. Returns log of the sum that divides them.
double softmax(const double* scores, int64_t K, double* p) {
    const double most = *std::max_element(scores, scores + K);
    double sum = 0;
    for (int64_t k = 0; k < K; ++k) sum += p[k] = std::exp(scores[k] - most);
    for (int64_t k = 0; k < K; ++k) p[k] /= sum;
    return most + std::log(sum);
}

double sigmoid(double s) {
    return s >= 0 ? 1 / (1 + std::exp(-s)) : std::exp(s) / (1 + std::exp(s));
}

// Loss of one example with `target`; its derivative in the scores replaces them.
double loss_of(double* scores, int64_t K, int32_t target) {
    if (K > 1) {
        const double own = scores[target], normaliser = softmax(scores, K, scores);
        scores[target] -= 1;
        return normaliser - own;
    }
    const double s = scores[0];
    scores[0] = sigmoid(s) - target;
    return std::max(s, 0.0) - target * s + std::log1p(std::exp(-std::abs(s)));
}

}  // namespace

std::unique_ptr<double[]> ScratchStack::take(int64_t size) {
    const std::lock_guard lock(mutex_);
    if (spare_.empty()) return std::make_unique_for_overwrite<double[]>(static_cast<size_t>(size));
    auto scratch = std::move(spare_.back());
    spare_.pop_back();
    return scratch;
}

void ScratchStack::give_back(std::unique_ptr<double[]> scratch) {
    const std::lock_guard lock(mutex_);
    spare_.push_back(std::move(scratch));
}

LogisticRegression::LogisticRegression(ThreadPool& pool, const FeatureRows& features, std::span<const int32_t> labels,
                                       std::span<const int64_t> rows, int64_t n_classes)
    : pool_(pool), features_(features), rows_(rows.begin(), rows.end()) {
    prepare_blas();
    model_.n_classes = n_classes;
    std::vector<int32_t> place(static_cast<size_t>(n_classes), -1);
    for (const int64_t i : rows_) place[static_cast<size_t>(labels[static_cast<size_t>(i)])] = 0;
    for (int32_t c = 0; c < n_classes; ++c)
        if (place[static_cast<size_t>(c)] == 0) {
            place[static_cast<size_t>(c)] = static_cast<int32_t>(model_.classes.size());
            model_.classes.push_back(c);
        }
    const auto present = static_cast<int64_t>(model_.classes.size());
    if (present < 2)
        fail("[logistic] the {} training examples are all of one class; hint: two are needed", rows_.size());
    for (const int64_t i : rows_) targets_.push_back(place[static_cast<size_t>(labels[static_cast<size_t>(i)])]);
    const int64_t outputs = present == 2 ? 1 : present;
    model_.weights.assign(static_cast<size_t>(outputs * d()), 0);
    model_.bias.assign(static_cast<size_t>(outputs), 0);
    curvature_ = present == 2 ? 0.25 : 1.0 / static_cast<double>(present);
    standardise();
    make_preconditioner_base();
}

void LogisticRegression::standardise() {
    const auto width = static_cast<size_t>(d());
    const RowBlocks cut(static_cast<int64_t>(rows_.size()), d());
    std::vector<double> partial(static_cast<size_t>(cut.tasks) * width);
    // The mean over the rows of f(x_j, j).
    const auto mean_of = [&](auto f) {
        std::fill(partial.begin(), partial.end(), 0);
        pool_.run(cut.tasks, [&](int64_t t) {
            double* sum = partial.data() + t * d();
            const int64_t end = std::min(cut.n, cut.first_block(t + 1) * cut.rows);
            for (int64_t i = cut.first_block(t) * cut.rows; i < end; ++i) {
                const float* x = features_.row(rows_[static_cast<size_t>(i)]);
                for (int64_t j = 0; j < d(); ++j) sum[j] += f(x[j], static_cast<size_t>(j));
            }
        });
        std::vector<double> mean(width);
        for (int64_t t = 0; t < cut.tasks; ++t)
            for (size_t j = 0; j < width; ++j) mean[j] += partial[static_cast<size_t>(t) * width + j];
        for (double& m : mean) m /= static_cast<double>(cut.n);
        return mean;
    };
    model_.mean = mean_of([](double x, size_t) { return x; });
    model_.scale = mean_of([&](double x, size_t j) { return (x - model_.mean[j]) * (x - model_.mean[j]); });
    for (size_t j = 0; j < width; ++j) {
        const double sd = std::sqrt(model_.scale[j]);
        model_.scale[j] = sd > 1e-10 * std::abs(model_.mean[j]) ? 1 / sd : 0;  // else a constant, but for rounding
    }
}

void LogisticRegression::make_preconditioner_base() {
    if (d() > kMostGramFeatures) return;
    // A sample suffices: it decides how fast the minimum is found, not where it is.
    const auto n = static_cast<int64_t>(rows_.size()), m = std::min(n, std::max<int64_t>(2 * d(), 2048));
    std::vector<int64_t> sample;
    for (int64_t i = 0; i < m; ++i) sample.push_back(rows_[static_cast<size_t>(i * n / m)]);
    std::vector<double> z(static_cast<size_t>(m * d()));
    const RowBlocks cut(m, d());
    pool_.run(cut.blocks, [&](int64_t b) {
        standardised(features_, model_, sample.data() + b * cut.rows, cut.size(b), z.data() + b * cut.rows * d());
    });
    gram_.assign(static_cast<size_t>(d() * d()), 0);
    const int64_t tiles = ceil_div(d(), kTile);
    const auto stride = static_cast<int>(d());
    pool_.run(tiles * tiles, [&](int64_t t) {
        const int64_t i = t / tiles * kTile, j = t % tiles * kTile;
        if (j > i) return;  // the factorisation reads the lower triangle
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, static_cast<int>(std::min(kTile, d() - i)),
                    static_cast<int>(std::min(kTile, d() - j)), static_cast<int>(m), 1 / static_cast<double>(m),
                    z.data() + i, stride, z.data() + j, stride, 0, gram_.data() + i * d() + j, stride);
    });
}

void LogisticRegression::precondition(double l2) {
    diagonal_ = std::sqrt(curvature_ + l2);
    if (gram_.empty()) return;
    factor_.resize(gram_.size());
    pool_.run(d(), [&](int64_t i) {
        double* to = factor_.data() + i * d();
        const double* from = gram_.data() + i * d();
        for (int64_t j = 0; j <= i; ++j) to[j] = curvature_ * from[j];
        to[i] += l2;
    });
    cholesky(pool_, factor_.data(), d());
}

// W = V L^-1 row by row, so that the Hessian in V is about 1; likewise b.
void LogisticRegression::to_weights(const std::vector<double>& v, std::vector<double>& w) const {
    w = v;
    const auto weights = static_cast<size_t>(K() * d());
    for (size_t i = weights; i < w.size(); ++i) w[i] /= std::sqrt(curvature_);
    if (gram_.empty())
        for (size_t i = 0; i < weights; ++i) w[i] /= diagonal_;
    else
        solve_lower(pool_, factor_.data(), d(), w.data(), K());
}

void LogisticRegression::to_variables(const std::vector<double>& w, std::vector<double>& v) const {
    v = w;
    const auto weights = static_cast<size_t>(K() * d());
    for (size_t i = weights; i < v.size(); ++i) v[i] *= std::sqrt(curvature_);
    if (gram_.empty())
        for (size_t i = 0; i < weights; ++i) v[i] *= diagonal_;
    else
        cblas_dtrmm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, static_cast<int>(K()),
                    static_cast<int>(d()), 1, factor_.data(), static_cast<int>(d()), v.data(), static_cast<int>(d()));
}

void LogisticRegression::gradient_to_variables(std::vector<double>& gradient) const {
    const auto weights = static_cast<size_t>(K() * d());
    for (size_t i = weights; i < gradient.size(); ++i) gradient[i] /= std::sqrt(curvature_);
    if (gram_.empty())
        for (size_t i = 0; i < weights; ++i) gradient[i] /= diagonal_;
    else
        solve_lower_transposed(pool_, factor_.data(), d(), gradient.data(), K());
}

// The summed loss of training examples [first, first + count); adds its gradient, (K,d) and (K). `work` holds z and
// scores.
double LogisticRegression::block_loss(int64_t first, int64_t count, const double* w, double* gradient,
                                      double* work) const {
    double *z = work, *scores = work + count * d();
    standardised(features_, model_, rows_.data() + first, count, z);
    scores_of(z, count, d(), K(), w, w + K() * d(), scores);
    double loss = 0;
    double* bias_gradient = gradient + K() * d();
    for (int64_t i = 0; i < count; ++i) {
        loss += loss_of(scores + i * K(), K(), targets_[static_cast<size_t>(first + i)]);
        for (int64_t k = 0; k < K(); ++k) bias_gradient[k] += scores[i * K() + k];
    }
    const int rows = static_cast<int>(count), columns = static_cast<int>(d()), k = static_cast<int>(K());
    if (K() == 1)
        cblas_dgemv(CblasRowMajor, CblasTrans, rows, columns, 1, z, columns, scores, 1, 1, gradient, 1);
    else
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, columns, rows, 1, scores, k, z, columns, 1, gradient,
                    columns);
    return loss;
}

double LogisticRegression::value_and_gradient(double l2, const std::vector<double>& w, std::vector<double>& gradient) {
    const RowBlocks cut(static_cast<int64_t>(rows_.size()), d());
    const auto width = static_cast<int64_t>(w.size());
    partial_.resize(static_cast<size_t>(cut.tasks * width));
    std::vector<double> losses(static_cast<size_t>(cut.tasks));
    pool_.run(cut.tasks, [&](int64_t t) {
        auto work = scratch_.take(cut.rows * (d() + K()));
        double* own = partial_.data() + t * width;
        std::fill_n(own, width, 0.0);
        for (int64_t b = cut.first_block(t); b < cut.first_block(t + 1); ++b)
            losses[static_cast<size_t>(t)] += block_loss(b * cut.rows, cut.size(b), w.data(), own, work.get());
        scratch_.give_back(std::move(work));
    });
    double loss = 0;
    for (const double l : losses) loss += l;
    pool_.run(ceil_div(width, kColumns), [&](int64_t part) {
        const int64_t begin = part * kColumns, end = std::min(width, begin + kColumns);
        std::fill(gradient.begin() + begin, gradient.begin() + end, 0);
        for (int64_t t = 0; t < cut.tasks; ++t)
            for (int64_t i = begin; i < end; ++i)
                gradient[static_cast<size_t>(i)] += partial_[static_cast<size_t>(t * width + i)];
    });
    const double per_example = 1 / static_cast<double>(cut.n);
    double squares = 0;
    for (double& g : gradient) g *= per_example;
    for (size_t i = 0; i < static_cast<size_t>(K() * d()); ++i) {
        squares += w[i] * w[i];
        gradient[i] += l2 * w[i];
    }
    return loss * per_example + 0.5 * l2 * squares;
}

const LogisticModel& LogisticRegression::fit(double l2, double tolerance) {
    CHECK(l2 > 0);
    precondition(l2);
    std::vector<double> w(model_.weights), v;
    w.insert(w.end(), model_.bias.begin(), model_.bias.end());
    to_variables(w, v);
    const auto f = [&](const std::vector<double>& x, std::vector<double>& gradient) {
        to_weights(x, w);
        const double value = value_and_gradient(l2, w, gradient);
        gradient_to_variables(gradient);
        return value;
    };
    minimize(f, v, {.tolerance = 2 * tolerance});
    to_weights(v, w);
    std::copy(w.begin(), w.end() - K(), model_.weights.begin());
    std::copy(w.end() - K(), w.end(), model_.bias.begin());
    return model_;
}

std::vector<double> predict(ThreadPool& pool, const LogisticModel& model, const FeatureRows& features,
                            std::span<const int64_t> rows) {
    prepare_blas();
    const auto n = static_cast<int64_t>(rows.size()), K = static_cast<int64_t>(model.bias.size()), d = features.d;
    const auto present = static_cast<int64_t>(model.classes.size());
    std::vector<double> probabilities(static_cast<size_t>(n * model.n_classes));
    const RowBlocks cut(n, d);
    pool.run(cut.blocks, [&](int64_t b) {
        const int64_t count = cut.size(b);
        std::vector<double> z(static_cast<size_t>(count * d)), scores(static_cast<size_t>(count * K));
        standardised(features, model, rows.data() + b * cut.rows, count, z.data());
        scores_of(z.data(), count, d, K, model.weights.data(), model.bias.data(), scores.data());
        std::vector<double> p(static_cast<size_t>(present));
        for (int64_t i = 0; i < count; ++i) {
            if (K == 1)
                p = {sigmoid(-scores[static_cast<size_t>(i)]), sigmoid(scores[static_cast<size_t>(i)])};
            else
                softmax(scores.data() + i * K, K, p.data());
            double* to = probabilities.data() + (b * cut.rows + i) * model.n_classes;
            for (int64_t c = 0; c < present; ++c) to[model.classes[static_cast<size_t>(c)]] = p[static_cast<size_t>(c)];
        }
    });
    return probabilities;
}

}  // namespace adder
