#include "train/schedule.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace adder {
namespace {

TEST(LearningRate, rises_linearly_for_a_tenth_of_the_steps_to_the_peak) {
    const LearningRate s{.peak = 0.02, .steps = 1000};
    EXPECT_DOUBLE_EQ(learning_rate(s, 1), 0.02 / 100);
    EXPECT_DOUBLE_EQ(learning_rate(s, 50), 0.01);
    EXPECT_DOUBLE_EQ(learning_rate(s, 100), 0.02);
}

TEST(LearningRate, falls_as_a_cosine_to_a_tenth_and_stays_there) {
    const LearningRate s{.peak = 1, .steps = 1000};
    // Values from the definition, worked out by hand at the quarter points of the decay.
    EXPECT_NEAR(learning_rate(s, 325), 0.1 + 0.9 * 0.8535533905932737, 1e-15);
    EXPECT_NEAR(learning_rate(s, 550), 0.55, 1e-15);
    EXPECT_NEAR(learning_rate(s, 775), 0.1 + 0.9 * 0.1464466094067263, 1e-15);
    EXPECT_DOUBLE_EQ(learning_rate(s, 1000), 0.1);
    EXPECT_DOUBLE_EQ(learning_rate(s, 5000), 0.1);
    for (int64_t step = 101; step <= 1000; ++step) EXPECT_LT(learning_rate(s, step), learning_rate(s, step - 1));
}

TEST(LearningRate, the_shortest_runs_have_a_rate_too) {
    EXPECT_DOUBLE_EQ(learning_rate({.peak = 3, .steps = 1}, 1), 3);
    EXPECT_DOUBLE_EQ(learning_rate({.peak = 3, .steps = 4}, 1), 3);
    EXPECT_DOUBLE_EQ(learning_rate({.peak = 3, .steps = 4}, 4), 0.3);
    EXPECT_THROW(learning_rate({.peak = 3, .steps = 4}, 0), Error);
}

TEST(LearningRate, no_warm_up_starts_the_cosine_at_once_and_a_full_one_never_falls) {
    EXPECT_NEAR(learning_rate({.peak = 1, .steps = 100, .warmup_fraction = 0}, 50), 0.55, 1e-15);
    EXPECT_DOUBLE_EQ(learning_rate({.peak = 1, .steps = 100, .warmup_fraction = 1}, 99), 0.99);
    EXPECT_DOUBLE_EQ(learning_rate({.peak = 1, .steps = 100, .warmup_fraction = 1}, 100), 1);
}

TEST(LengthStages, every_stage_has_the_tokens_of_the_last) {
    const auto stages = length_stages({{100, 256, 0}, {300, 1024, 0}}, 4096, 2);
    ASSERT_EQ(stages.size(), 3u);
    EXPECT_EQ(stages[0], (LengthStage{100, 256, 32}));
    EXPECT_EQ(stages[1], (LengthStage{300, 1024, 8}));
    EXPECT_EQ(stages[2].L, 4096);
    EXPECT_EQ(stages[2].B, 2);
}

TEST(LengthStages, a_stage_includes_its_last_step) {
    const auto stages = length_stages({{100, 256, 0}}, 512, 1);
    EXPECT_EQ(stage_at(stages, 1).L, 256);
    EXPECT_EQ(stage_at(stages, 100).L, 256);
    EXPECT_EQ(stage_at(stages, 101).L, 512);
    EXPECT_EQ(stage_at(stages, int64_t{1} << 40).L, 512);
    EXPECT_EQ(stage_at(length_stages({}, 512, 1), 1), (stages.back()));
}

TEST(LengthStages, lengths_that_cannot_work_are_refused) {
    EXPECT_THROW(length_stages({{100, 300, 0}}, 512, 1), Error);               // does not divide
    EXPECT_THROW(length_stages({{100, 512, 0}}, 512, 1), Error);               // no shorter
    EXPECT_THROW(length_stages({{100, 128, 0}, {100, 256, 0}}, 512, 1), Error);  // ends at once
    EXPECT_THROW(length_stages({{100, 256, 0}, {200, 128, 0}}, 512, 1), Error);  // shrinks
    EXPECT_THROW(length_stages({{0, 128, 0}}, 512, 1), Error);
}

}  // namespace
}  // namespace adder
