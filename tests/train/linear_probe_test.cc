#include "train/linear_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "core/rng.h"
#include "tests/io/scratch.h"
#include "train/classification.h"

namespace adder {
namespace {

// n examples of two classes whose first feature tells them with some noise; the other features are noise.
struct Examples {
    std::vector<float> x;
    ProbeExamples known;
    int64_t d;

    Examples(int64_t n, int64_t d_, double signal, uint64_t seed = 5) : d(d_) {
        const Philox rng(seed, Stream::test);
        known.n_classes = 2;
        for (int64_t i = 0; i < n; ++i) {
            known.labels.push_back(static_cast<int32_t>(i % 2));
            for (int64_t j = 0; j < d; ++j)
                x.push_back(static_cast<float>(rng.normal(static_cast<uint64_t>(i), static_cast<uint32_t>(j)) +
                                               (j == 0 ? signal * static_cast<double>(i % 2) : 0)));
        }
    }
    FeatureRows rows() const { return {x.data(), static_cast<int64_t>(known.labels.size()), d}; }
};

double accuracy(const ProbeResult& r) {
    return classification_metrics(r.truth, r.probabilities, 2).accuracy;
}

TEST(LinearProbe, every_example_is_tested_once_and_groups_are_never_divided) {
    Examples e(103, 1, 0);
    for (size_t i = 0; i < 103; ++i) e.known.groups.push_back(static_cast<int32_t>(i / 4));
    const std::vector<ProbeFold> folds = cross_validation(e.known, 5);
    std::multiset<int64_t> tested;
    for (const ProbeFold& fold : folds) {
        EXPECT_EQ(fold.train.size() + fold.test.size(), 103u);
        tested.insert(fold.test.begin(), fold.test.end());
        std::set<int32_t> train_groups;
        for (const int64_t i : fold.train) train_groups.insert(e.known.groups[static_cast<size_t>(i)]);
        for (const int64_t i : fold.test) EXPECT_FALSE(train_groups.count(e.known.groups[static_cast<size_t>(i)]));
    }
    for (int64_t i = 0; i < 103; ++i) EXPECT_EQ(tested.count(i), 1u);
}

TEST(LinearProbe, groups_that_share_a_signature_do_not_leak_into_the_test) {
    // Every group has a feature of its own that also tells its label: what tells groups apart says nothing about a new
    // one.
    Examples e(120, 40, 0);
    for (size_t i = 0; i < 120; ++i) {
        const size_t group = i / 3;
        e.known.groups.push_back(static_cast<int32_t>(group));
        e.known.labels[i] = static_cast<int32_t>((group * 7) % 11 % 2);
        for (size_t j = 0; j < 40; ++j) e.x[i * 40 + j] = j == group ? 5.0f : 0.1f * e.x[i * 40 + j];
    }
    ThreadPool pool(2);
    const FeatureRows rows = e.rows();
    const double whole = accuracy(probe(pool, {&rows, 1}, e.known, cross_validation(e.known, 5)));
    e.known.groups.clear();
    const double divided = accuracy(probe(pool, {&rows, 1}, e.known, cross_validation(e.known, 5)));
    EXPECT_LT(whole, 0.65);
    EXPECT_GT(divided, 0.75);
}

TEST(LinearProbe, noise_takes_a_strong_penalty_and_clear_features_a_weak_one) {
    ThreadPool pool(2);
    const Examples noise(80, 30, 0), clear(400, 5, 8);
    const FeatureRows noise_rows = noise.rows(), clear_rows = clear.rows();
    for (const ProbeChoice& c : probe(pool, {&noise_rows, 1}, noise.known, cross_validation(noise.known, 5)).choices)
        EXPECT_GE(c.l2, 1);
    const ProbeResult r = probe(pool, {&clear_rows, 1}, clear.known, cross_validation(clear.known, 5));
    for (const ProbeChoice& c : r.choices) EXPECT_LE(c.l2, 0.01);
    EXPECT_EQ(accuracy(r), 1);
}

TEST(LinearProbe, the_feature_set_that_predicts_is_chosen_and_the_test_part_plays_no_part) {
    Examples bad(200, 20, 0, 1), good(200, 3, 3, 2);
    ThreadPool pool(1);
    ProbeFold fold;
    for (int64_t i = 0; i < 200; ++i) (i < 120 ? fold.train : i < 160 ? fold.valid : fold.test).push_back(i);
    const auto run = [&] {
        const std::vector<FeatureRows> sets = {bad.rows(), good.rows()};
        return probe(pool, sets, good.known, std::vector<ProbeFold>{fold});
    };
    const ProbeResult before = run();
    EXPECT_EQ(before.choices[0].candidate, 1);
    EXPECT_GT(accuracy(before), 0.85);
    // Other test labels change neither choice nor probabilities; with `valid` fixed, nor does the seed.
    for (const int64_t i : fold.test) good.known.labels[static_cast<size_t>(i)] ^= 1;
    good.known.seed = 9;
    const ProbeResult after = run();
    EXPECT_EQ(after.probabilities, before.probabilities);
    EXPECT_EQ(after.choices[0].l2, before.choices[0].l2);
    EXPECT_NEAR(accuracy(after), 1 - accuracy(before), 1e-12);
}

TEST(LinearProbe, threads_change_no_bit) {
    const Examples e(150, 40, 1);
    const FeatureRows rows = e.rows();
    std::vector<double> first;
    for (const int threads : {1, 2, 3, 7}) {
        ThreadPool pool(threads);
        const ProbeResult r = probe(pool, {&rows, 1}, e.known, cross_validation(e.known, 5));
        if (threads == 1) first = r.probabilities;
        EXPECT_EQ(r.probabilities, first);
    }
}

TEST(LinearProbe, majority_is_that_of_the_training_part) {
    ProbeExamples e{{0, 0, 0, 1, 1, 1, 1}, {}, 2, 0};
    const std::vector<ProbeFold> folds = {{{0, 1, 2, 3}, {}, {4, 5, 6}}};
    const ProbeResult r = majority_probe(e, folds);
    EXPECT_EQ(accuracy(r), 0);
    EXPECT_THAT(r.truth, testing::ElementsAre(1, 1, 1));
}

TEST(LinearProbe, too_little_to_choose_from_is_an_error) {
    const Examples e(10, 2, 1);
    const FeatureRows rows = e.rows();
    ThreadPool pool(1);
    const auto error = [&](std::vector<int64_t> train) {
        return error_of([&] { probe(pool, {&rows, 1}, e.known, std::vector<ProbeFold>{{train, {}, {9}}}); });
    };
    EXPECT_THAT(error({0, 2, 4}), testing::HasSubstr("3 training examples are all of one class"));
    EXPECT_THAT(error({0, 1}), testing::HasSubstr("too few to choose a penalty"));
}

}  // namespace
}  // namespace adder
