#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/common/op_instance.h"
#include "kernels/cross_entropy/cross_entropy_cases.h"

namespace adder {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Bits, so that a sum is compared exactly.
std::pair<double, double> sums_of(const TensorRef& sums) {
    const std::vector<double> v = values_of(sums);
    return {v[0], v[1]};
}

class CrossEntropy : public testing::TestWithParam<DType> {
  protected:
    CrossEntropy() {
        ctx.pool = &pool;
        scratch.bind(1 << 20, true);
        ctx.scratch = &scratch;
    }
    // Random logits and targets, weights 1.
    void make(int64_t B, int64_t L, int64_t V) {
        const OpCase c = op_case<CrossEntropyProblem>({kTest, B, L, V});
        run = std::make_unique<Instance>(c, make_inputs(c), GetParam());
        set_values(at("weights"), std::vector<double>(static_cast<size_t>(B * L), 1.0));
    }
    TensorRef at(const char* name) { return run->bag()[name]; }
    CrossEntropyArgs args() { return {at("logits"), at("targets"), at("weights")}; }
    CrossEntropyOut out() { return {at("sums"), at("nats"), at("d_logits")}; }

    ThreadPool pool{2};
    Arena scratch;
    Ctx ctx;
    std::unique_ptr<Instance> run;
};

TEST_P(CrossEntropy, of_equal_logits_is_the_log_of_the_vocabulary) {
    make(1, 3, 16);
    set_values(at("logits"), std::vector<double>(48, 5.0));
    cross_entropy(ctx, args(), out());
    for (const double nats : values_of(at("nats"))) EXPECT_NEAR(nats, std::log(16.0), 1e-6);
    EXPECT_NEAR(sums_of(at("sums")).first, 3 * std::log(16.0), 3e-6);
    EXPECT_EQ(sums_of(at("sums")).second, 3);
}

TEST_P(CrossEntropy, gradient_may_replace_the_logits) {
    for (const int64_t V : {5, 16, 40}) {
        make(3, 70, V);
        cross_entropy(ctx, args(), out());
        const auto apart = run->bytes("d_logits");
        const auto sums = run->bytes("sums");
        cross_entropy(ctx, args(), {at("sums"), at("nats"), at("logits")});
        EXPECT_EQ(run->bytes("logits"), apart) << V;
        EXPECT_EQ(run->bytes("sums"), sums) << V;
    }
}

// A NaN in logits that do not count neither reaches the loss nor the gradient; nor does their target matter.
TEST_P(CrossEntropy, tokens_of_weight_zero_contribute_nothing) {
    make(1, 4, 16);
    std::vector<double> logits = values_of(at("logits"));
    cross_entropy(ctx, args(), out());
    const std::vector<double> nats = values_of(at("nats")), gradient = values_of(at("d_logits"));
    for (size_t i = 16; i < 48; ++i) logits[i] = kNan;
    set_values(at("logits"), logits);
    set_values(at("targets"), {1, 99, 65535, 2});
    set_values(at("weights"), {2, 0, 1, 0.5});
    CrossEntropyArgs a = args();
    a.ignore_index = 65535;
    run->set("nats", {9, 9, 9, 9});
    cross_entropy(ctx, a, out());
    const std::vector<double> got = values_of(at("nats")), d_logits = values_of(at("d_logits"));
    EXPECT_EQ(got[1], 0);
    EXPECT_EQ(got[2], 0);
    for (size_t i = 16; i < 48; ++i) EXPECT_EQ(d_logits[i], 0) << i;
    EXPECT_EQ(sums_of(at("sums")), std::make_pair(2 * got[0] + 0.5 * got[3], 2.5));
}

TEST_P(CrossEntropy, all_tokens_ignored_give_exact_zeros) {
    make(1, 70, 7);
    set_values(at("weights"), std::vector<double>(70, 0.0));
    cross_entropy(ctx, args(), out());
    EXPECT_EQ(sums_of(at("sums")), std::make_pair(0.0, 0.0));
    for (const double g : values_of(at("d_logits"))) ASSERT_EQ(g, 0);
}

TEST_P(CrossEntropy, nan_that_counts_makes_the_loss_nan) {
    for (const int64_t V : {3, 16, 37}) {
        make(1, 5, V);
        std::vector<double> logits = values_of(at("logits"));
        logits[static_cast<size_t>(3 * V + 1)] = kNan;
        set_values(at("logits"), logits);
        cross_entropy(ctx, args(), out());
        EXPECT_TRUE(std::isnan(sums_of(at("sums")).first)) << V;
        const std::vector<double> nats = values_of(at("nats")), d_logits = values_of(at("d_logits"));
        for (size_t t = 0; t < 5; ++t) {
            EXPECT_EQ(std::isnan(nats[t]), t == 3) << V;
            for (size_t v = 0; v < static_cast<size_t>(V); ++v)
                EXPECT_EQ(std::isnan(d_logits[t * static_cast<size_t>(V) + v]), t == 3) << V;
        }
    }
}

TEST_P(CrossEntropy, large_logits_do_not_overflow) {
    make(1, 2, 4);
    set_values(at("logits"), {1e4, -1e4, 0, 0, -3e38, -3e38, 3e38, -std::numeric_limits<double>::infinity()});
    set_values(at("targets"), {1, 2});
    cross_entropy(ctx, args(), out());
    EXPECT_EQ(values_of(at("nats")), (std::vector<double>{2e4, 0}));
    EXPECT_EQ(values_of(at("d_logits")), (std::vector<double>{1, -1, 0, 0, 0, 0, 0, 0}));
}

TEST_P(CrossEntropy, target_outside_the_vocabulary_is_named_and_nothing_is_written) {
    make(3, 5, 16);
    std::vector<double> targets = values_of(at("targets"));
    targets[8] = 16;
    set_values(at("targets"), targets);
    CrossEntropyArgs a = args();
    a.t0 = 1024;
    const auto sums = run->bytes("sums"), nats = run->bytes("nats"), gradient = run->bytes("d_logits");
    try {
        cross_entropy(ctx, a, out());
        ADD_FAILURE() << "no error";
    } catch (const Error& e) {
        EXPECT_STREQ(e.what(),
                     "[cross_entropy] targets: expected less than V = 16 where the weight is not 0, got 16 "
                     "in row 1 at "
                     "position 1027");
    }
    EXPECT_EQ(run->bytes("sums"), sums);
    EXPECT_EQ(run->bytes("nats"), nats);
    EXPECT_EQ(run->bytes("d_logits"), gradient);
}

TEST_P(CrossEntropy, weights_that_are_no_numbers_from_zero_on_are_refused) {
    for (const double wrong : {-0.5, kNan}) {
        make(3, 5, 16);
        std::vector<double> weights = values_of(at("weights"));
        weights[8] = wrong;
        set_values(at("weights"), weights);
        CrossEntropyArgs a = args();
        a.ignore_index = 16;
        try {
            cross_entropy(ctx, a, out());
            ADD_FAILURE() << "no error";
        } catch (const Error& e) {
            EXPECT_EQ(e.what(), fmt::format("[cross_entropy] weights: expected numbers >= 0, got {} in row 1 at position 3", wrong));
        }
        // What does not count may have any weight.
        std::vector<double> targets = values_of(at("targets"));
        targets[8] = 16;
        set_values(at("targets"), targets);
        cross_entropy(ctx, a, out());
        EXPECT_EQ(sums_of(at("sums")).second, 14);
    }
}

INSTANTIATE_TEST_SUITE_P(Types, CrossEntropy, testing::Values(DType::f32, DType::f64),
                         [](const auto& test) { return std::string(name_of(test.param)); });

// A tile that ends at an absolute multiple of 1,024 and the one after it have the bits of both in one.
TEST(CrossEntropySums, are_cut_at_absolute_multiples_of_1024) {
    const OpCase c = op_case<CrossEntropyProblem>({kTest, 1, 2500, 5});
    Instance run(c, make_inputs(c), DType::f32);
    ThreadPool pool(2);
    Arena scratch;
    scratch.bind(1 << 20);
    Ctx ctx;
    ctx.pool = &pool;
    ctx.scratch = &scratch;
    const TensorRef logits = run.bag()["logits"], targets = run.bag()["targets"],
                    weights = run.bag()["weights"];
    const TensorRef sums = run.bag()["sums"];
    const auto of = [&](int64_t t0, int64_t begin, int64_t end) {
        const int64_t n = end - begin;
        cross_entropy(ctx,
                      {logits.slice(1, begin, n), targets.slice(1, begin, n), weights.slice(1, begin, n), -1,
                       t0 + begin},
                      {sums, {}, {}});
        return sums_of(sums);
    };
    for (const int64_t t0 : {0, 24, 500, 1023, 1024}) {
        const int64_t cut = 2048 - t0 % 1024;  // absolute position t0 + cut is a multiple of 1,024
        const auto whole = of(t0, 0, cut + 400), head = of(t0, 0, cut), tail = of(t0, cut, cut + 400);
        EXPECT_EQ(whole, std::make_pair(head.first + tail.first, head.second + tail.second)) << t0;
    }
}

TEST(CrossEntropySums, memory_planned_at_one_position_serves_all) {
    for (const int64_t L : {1, 64, 256, 257, 258}) {  // 4 blocks fill one allocation unit
        const OpCase c = op_case<CrossEntropyProblem>({kTest, 1, L, 5});
        Instance run(c, make_inputs(c), DType::f32);
        const TensorRef logits = run.bag()["logits"], targets = run.bag()["targets"],
                        sums = run.bag()["sums"];
        ThreadPool pool(2);
        Arena plan, scratch;
        Ctx ctx;
        ctx.pool = &pool;
        ctx.scratch = &plan;
        ctx.dry_run = true;
        cross_entropy(ctx, {logits, targets, {}}, {sums, {}, {}});
        scratch.bind(plan.peak_bytes(), true);
        ctx.scratch = &scratch;
        ctx.dry_run = false;
        for (int64_t t0 = 0; t0 < 130; ++t0) {
            cross_entropy(ctx, {logits, targets, {}, -1, t0}, {sums, {}, {}});
            EXPECT_EQ(sums_of(sums).second, static_cast<double>(L)) << t0;
        }
    }
}

}  // namespace
}  // namespace adder
