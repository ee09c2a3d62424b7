// Logistic regression: multinomial, L2, on standardised features, in double precision. Of n training examples it
// minimises
//
//     1/n sum_i -log p(label_i | x_i) + l2/2 |W|^2,    p = softmax(W z + b),    z = (x - mean) / sd of the examples
//
// with intercepts b free (Bishop, Pattern Recognition and Machine Learning, 2006, section 4.3); two classes share one
// row of W, p = sigmoid. In scikit-learn's terms C = 1 / (l2 n) on the same z.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "core/threads.h"

namespace adder {

// Features of all examples, (n,d) row by row.
struct FeatureRows {
    const float* data = nullptr;
    int64_t n = 0, d = 0;
    const float* row(int64_t i) const { return data + i * d; }
};

struct LogisticModel {
    int64_t n_classes = 0;
    std::vector<int32_t> classes;  // those with training examples, two or more; the others have probability 0
    std::vector<double> mean;      // (d)
    std::vector<double> scale;     // (d): 1 / sd, 0 for a feature that is constant, which has no part in the model
    std::vector<double> weights;   // (K,d) over z, K = 1 for two classes, else one row a class
    std::vector<double> bias;      // (K)
};

// Working memory of tasks: the last one given back is the next one taken, so that there are as many as threads, and warm.
class ScratchStack {
  public:
    // `size` numbers, the same at every call.
    std::unique_ptr<double[]> take(int64_t size);
    void give_back(std::unique_ptr<double[]> scratch);

  private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<double[]>> spare_;
};

// Examples `rows` as a training set. Every number depends on the data alone: work is cut by shape, sums have one order.
class LogisticRegression {
  public:
    // `labels` of all examples, in [0, n_classes). Keeps the spans' data by reference, `rows` by value. Errors: fewer
    // than two classes among `rows`.
    LogisticRegression(ThreadPool& pool, const FeatureRows& features, std::span<const int32_t> labels,
                       std::span<const int64_t> rows, int64_t n_classes);

    // The minimiser, to a loss within about `tolerance` of the least. Goes on from the last fit's, so that a series of
    // falling l2 is quick. l2 > 0.
    const LogisticModel& fit(double l2, double tolerance);

  private:
    void standardise();
    void make_preconditioner_base();
    void precondition(double l2);
    double value_and_gradient(double l2, const std::vector<double>& w, std::vector<double>& gradient);
    double block_loss(int64_t first, int64_t count, const double* w, double* gradient, double* work) const;
    void to_weights(const std::vector<double>& v, std::vector<double>& w) const;
    void to_variables(const std::vector<double>& w, std::vector<double>& v) const;
    void gradient_to_variables(std::vector<double>& gradient) const;
    int64_t d() const { return features_.d; }
    int64_t K() const { return static_cast<int64_t>(model_.bias.size()); }

    ThreadPool& pool_;
    FeatureRows features_;
    std::vector<int64_t> rows_;
    std::vector<int32_t> targets_;  // of rows_: index into model_.classes
    LogisticModel model_;
    double curvature_ = 0;        // of the loss in the scores, at weights 0
    std::vector<double> gram_;    // (d,d): z z^T averaged over a sample of the rows; empty for many features
    std::vector<double> factor_;  // (d,d) lower: curvature gram + l2, Cholesky's factor
    double diagonal_ = 0;         // without gram_: the same for all features
    std::vector<double> partial_;  // (tasks, K (d + 1)): gradients, kept from one evaluation to the next
    ScratchStack scratch_;
};

// p of `rows` for all classes, (rows, n_classes).
std::vector<double> predict(ThreadPool& pool, const LogisticModel& model, const FeatureRows& features,
                            std::span<const int64_t> rows);

}  // namespace adder
