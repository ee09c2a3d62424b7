// What a linear classifier makes of fixed features: every choice is made inside the training part.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/threads.h"
#include "train/logistic.h"

namespace adder {

struct ProbeExamples {
    std::vector<int32_t> labels;  // in [0, n_classes)
    std::vector<int32_t> groups;  // empty, or one number an example
    int64_t n_classes = 0;
    uint64_t seed = 0;
};

// Indices of examples. `valid` empty: choices are made by folds of `train`; else by a fit to `train` tried on `valid`.
// What is tested is fitted to `train` alone.
struct ProbeFold {
    std::vector<int64_t> train, valid, test;
};

// Stratified folds, groups whole; each example is tested once. Errors: those of stratified_folds.
std::vector<ProbeFold> cross_validation(const ProbeExamples& examples, int32_t n_folds);

struct ProbeChoice {
    int64_t candidate = 0;
    double l2 = 0;
};

struct ProbeResult {
    std::vector<int32_t> truth;         // of the tested examples, fold after fold
    std::vector<double> probabilities;  // of them, (tested, n_classes)
    std::vector<ProbeChoice> choices;   // of each fold
};

// Logistic regression on one of `candidates`, feature sets of the same examples, with an L2 penalty from 10 to 1e-5 in
// half decades. The pair with the lowest mean log loss on what was held out inside the training part is taken;
// penalties are tried in decades, from the strongest on while that helps, then in half decades beside the best.
// `fold_done` is called after each fold. Errors: a training part with one class only.
ProbeResult probe(ThreadPool& pool, std::span<const FeatureRows> candidates, const ProbeExamples& examples,
                  std::span<const ProbeFold> folds, const std::function<void(int64_t fold)>& fold_done = {});

// The commonest class of each training part (of equal ones the first) as the prediction for its test part.
ProbeResult majority_probe(const ProbeExamples& examples, std::span<const ProbeFold> folds);

}  // namespace adder
