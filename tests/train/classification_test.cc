#include "train/classification.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "tests/io/scratch.h"
#include "train/folds.h"

namespace adder {
namespace {

TEST(Classification, metrics_equal_those_of_scikit_learn) {
    nlohmann::json cases;
    std::ifstream(ADDER_SOURCE_DIR "/tests/golden/classification/metrics.json") >> cases;
    ASSERT_GE(cases.size(), 9u);
    for (const auto& c : cases) {
        SCOPED_TRACE(c["name"].get<std::string>());
        std::vector<double> probabilities;
        std::vector<int64_t> confusion;
        for (const auto& row : c["probabilities"])
            for (const double p : row) probabilities.push_back(p);
        for (const auto& row : c["confusion"])
            for (const int64_t count : row) confusion.push_back(count);
        const auto C = static_cast<int64_t>(c["confusion"].size());
        const ClassificationMetrics m =
            classification_metrics(c["truth"].get<std::vector<int32_t>>(), probabilities, C);
        EXPECT_NEAR(m.accuracy, c["accuracy"].get<double>(), 1e-14);
        EXPECT_NEAR(m.macro_f1, c["macro_f1"].get<double>(), 1e-14);
        EXPECT_NEAR(m.mcc, c["mcc"].get<double>(), 1e-14);
        EXPECT_EQ(m.confusion, confusion);
        if (c["auroc"].is_null())
            EXPECT_TRUE(std::isnan(m.auroc));
        else
            EXPECT_NEAR(m.auroc, c["auroc"].get<double>(), 1e-14);
    }
}

TEST(Classification, a_score_that_is_nan_is_an_error) {
    const std::vector<double> scores{0.5, 0.5, 0.1, std::numeric_limits<double>::quiet_NaN()};
    EXPECT_THAT(error_of([&] {
                    classification_metrics(std::vector<int32_t>{0, 1}, scores, 2);
                }),
                testing::HasSubstr("example 1 for class 1 is NaN"));
}

// Of every class, how many examples each fold has.
std::map<int32_t, std::vector<int64_t>> counts(std::span<const int32_t> labels, std::span<const int32_t> folds,
                                               int32_t n_folds) {
    std::map<int32_t, std::vector<int64_t>> of_class;
    for (size_t i = 0; i < labels.size(); ++i) {
        of_class[labels[i]].resize(static_cast<size_t>(n_folds));
        ++of_class[labels[i]][static_cast<size_t>(folds[i])];
    }
    return of_class;
}

std::vector<int32_t> random_numbers(int64_t n, uint64_t below, uint64_t seed) {
    const Philox rng(seed, Stream::test);
    std::vector<int32_t> numbers;
    for (int64_t i = 0; i < n; ++i) numbers.push_back(static_cast<int32_t>(rng.below(below, static_cast<uint64_t>(i))));
    return numbers;
}

TEST(Folds, hold_equal_parts_of_every_class) {
    for (const int64_t n : {5, 17, 1003}) {
        const std::vector<int32_t> labels = random_numbers(n, 3, 1), folds = stratified_folds(labels, {}, 5, 0);
        std::vector<int64_t> sizes(5);
        for (const int32_t f : folds) ++sizes.at(static_cast<size_t>(f));
        EXPECT_LE(*std::max_element(sizes.begin(), sizes.end()) - *std::min_element(sizes.begin(), sizes.end()), 1);
        for (const auto& [label, of_fold] : counts(labels, folds, 5))
            EXPECT_LE(
                *std::max_element(of_fold.begin(), of_fold.end()) - *std::min_element(of_fold.begin(), of_fold.end()),
                1);
    }
}

TEST(Folds, a_group_is_never_in_two_folds_and_classes_stay_nearly_even) {
    for (const uint64_t seed : {1, 2, 3}) {
        // Groups of very different sizes; every second one holds a single class.
        const std::vector<int32_t> roots = random_numbers(2000, 1600, seed);
        std::vector<int32_t> groups, labels = random_numbers(2000, 3, seed + 10);
        for (size_t i = 0; i < roots.size(); ++i) {
            groups.push_back(static_cast<int32_t>(std::sqrt(roots[i])));
            if (groups[i] % 2 == 0) labels[i] = groups[i] % 3;
        }
        const std::vector<int32_t> folds = stratified_folds(labels, groups, 5, seed);
        std::map<int32_t, int32_t> fold_of;
        for (size_t i = 0; i < folds.size(); ++i)
            EXPECT_EQ(fold_of.emplace(groups[i], folds[i]).first->second, folds[i]);
        for (const auto& [label, of_fold] : counts(labels, folds, 5)) {
            EXPECT_GT(*std::min_element(of_fold.begin(), of_fold.end()), 80) << label;
            EXPECT_LT(*std::max_element(of_fold.begin(), of_fold.end()), 190) << label;
        }
    }
}

TEST(Folds, depend_on_the_seed_alone) {
    const std::vector<int32_t> labels = random_numbers(100, 2, 1), groups = random_numbers(100, 30, 2);
    for (const auto& g : {std::vector<int32_t>{}, groups}) {
        EXPECT_EQ(stratified_folds(labels, g, 5, 7), stratified_folds(labels, g, 5, 7));
        EXPECT_NE(stratified_folds(labels, g, 5, 7), stratified_folds(labels, g, 5, 8));
    }
}

TEST(Folds, too_few_examples_or_groups_are_an_error) {
    EXPECT_THAT(error_of([] {
                    stratified_folds(std::vector<int32_t>{0, 1}, {}, 5, 0);
                }),
                testing::HasSubstr("2 examples do not make 5 folds"));
    const std::vector<int32_t> labels(10, 0), groups{0, 9, 9, 9, 9, 9, 9, 9, 9, 9};
    EXPECT_THAT(error_of([&] { stratified_folds(labels, groups, 5, 0); }),
                testing::HasSubstr("2 groups do not make 5 folds"));
}

TEST(Folds, texts_are_numbered_as_they_appear) {
    EXPECT_THAT(numbered(std::vector<std::string>{"b", "a", "b", "c"}), testing::ElementsAre(0, 1, 0, 2));
}

}  // namespace
}  // namespace adder
