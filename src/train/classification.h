// How good predictions of classes are. Definitions, and the golden numbers of the tests, are those of scikit-learn.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace adder {

struct ClassificationMetrics {
    int64_t n = 0;          // examples
    int64_t n_classes = 0;  // C
    double accuracy = 0;
    // Mean over the classes that occur, as truth or as prediction, of 2 tp / (2 tp + fp + fn).
    double macro_f1 = 0;
    // Matthews correlation of any number of classes (Gorodkin, Comput. Biol. Chem. 28, 2004); 0 when truth or
    // prediction is one class only.
    double mcc = 0;
    // Area under the ROC curve: of two classes that of class 1, of more the mean of every class against the rest. Equal
    // scores count half (Mann and Whitney 1947). Over the classes that have examples and are not all; NaN without any.
    double auroc = 0;
    std::vector<int64_t> confusion;  // (C,C): row truth, column prediction
};

// `probabilities` (n,C) row by row, any scores that order examples as probabilities do; the prediction is the largest,
// of equal ones the first. Truths are in [0, C); n >= 1, C >= 2. A NaN score is an Error.
ClassificationMetrics classification_metrics(std::span<const int32_t> truth, std::span<const double> probabilities,
                                             int64_t n_classes);

// Area under the ROC curve of `scores` for telling those with `positive` 1 from the others; NaN when one kind is
// missing.
double auroc(std::span<const double> scores, std::span<const uint8_t> positive);

}  // namespace adder
