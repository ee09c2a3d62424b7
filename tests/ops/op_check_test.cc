// The checks themselves, on an op that is right, or wrong in one known way.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "tests/ops/decay_op.h"
#include "tests/ops/more_checks.h"

namespace adder {
namespace {

OpCase decay(Bug bug) {
    return op_case<Decay>({kTest, 2, 9, 3, true, bug});
}

bool caught(CheckReport (*check)(const OpCase&), Bug bug) {
    return !check(decay(bug)).passed();
}
bool caught(CheckReport (*check)(const OpCase&, const RunOn&), Bug bug, const RunOn& on = {}) {
    return !check(decay(bug), on).passed();
}
void expect_passes(const CheckReport& report) {
    EXPECT_TRUE(report.passed()) << (report.failures.empty() ? "nothing compared" : report.failures[0]);
}

TEST(OpCheck, a_right_op_passes_every_check) {
    const OpCase c = decay(Bug::none);
    for (auto check : {check_f64, check_gradients, check_threads, check_huge_strides}) expect_passes(check(c));
    for (auto check : {check_values, check_nan, check_errors, check_cuts, check_packed, check_steps})
        expect_passes(check(c, {}));
}

TEST(OpCheck, wrong_numbers_are_caught) {
    EXPECT_TRUE(caught(check_values, Bug::small_error));
    EXPECT_TRUE(caught(check_values, Bug::constant_output));
    EXPECT_TRUE(caught(check_values, Bug::overwrites_parameter_gradient));
    EXPECT_TRUE(caught(check_values, Bug::reads_stale_output));
    EXPECT_TRUE(caught(check_huge_strides, Bug::small_error));
    EXPECT_TRUE(caught(check_f64, Bug::f64_in_float));
    EXPECT_TRUE(caught(check_gradients, Bug::wrong_backward));
}

TEST(OpCheck, side_effects_are_caught) {
    EXPECT_TRUE(caught(check_values, Bug::changes_input));
    EXPECT_TRUE(caught(check_values, Bug::writes_past_row));
    EXPECT_TRUE(caught(check_values, Bug::differs_between_runs));
    EXPECT_TRUE(caught(check_threads, Bug::depends_on_threads));
    EXPECT_THROW(check_values(decay(Bug::writes_past_scratch)), std::logic_error);
}

TEST(OpCheck, nans_and_shapes_are_caught) {
    EXPECT_TRUE(caught(check_nan, Bug::hides_nan));
    EXPECT_TRUE(caught(check_nan, Bug::spreads_nan));
    EXPECT_TRUE(caught(check_errors, Bug::accepts_any_shape));
}

TEST(OpCheck, lost_state_is_caught) {
    EXPECT_TRUE(caught(check_values, Bug::drops_state));
    EXPECT_TRUE(caught(check_cuts, Bug::drops_state));
    EXPECT_TRUE(caught(check_cuts, Bug::drops_state_gradient));
    EXPECT_TRUE(caught(check_packed, Bug::ignores_starts));
    EXPECT_TRUE(caught(check_steps, Bug::step_ignores_state));
    EXPECT_TRUE(caught(check_steps, Bug::step_mixes_rows));
}

TEST(OpCheck, numbers_of_a_bf16_run_are_bf16_for_everybody) {
    const OpCase c = decay(Bug::none);
    const Bag<double> narrow = make_inputs(c, DType::bf16), wide = make_inputs(c);
    EXPECT_NE(narrow.at("x"), wide.at("x"));
    for (const double x : narrow.at("x")) EXPECT_EQ(x, rounded_to(DType::bf16, x));
    EXPECT_EQ(narrow.at("w"), wide.at("w"));
    EXPECT_EQ(rounded_to(DType::bf16, 1 + 0x1p-8), 1);                   // a tie goes to even
    EXPECT_EQ(rounded_to(DType::bf16, 1 + 0x1p-8 + 0x1p-20), 1 + 0x1p-7);
    EXPECT_TRUE(std::isnan(rounded_to(DType::bf16, std::nan(""))));
}

// What is wrong in planning shows without a GPU.
TEST(OpCheck, errors_on_a_gpu_are_caught_without_one) {
    for (const DType storage : {DType::f32, DType::bf16}) {
        const RunOn on{.storage = storage, .device = Device::cuda};
        expect_passes(check_errors(decay(Bug::none), on));
        EXPECT_TRUE(caught(check_errors, Bug::accepts_any_shape, on));
    }
}

class CudaOpCheck : public testing::TestWithParam<DType> {
  protected:
    void SetUp() override {
        if (const std::string problem = gpu_problem(); !problem.empty()) GTEST_SKIP() << "skipped: no GPU: " << problem;
        gpu_ = std::make_unique<Gpu>();
        on_ = {.storage = GetParam(), .device = Device::cuda, .gpu = gpu_.get()};
    }
    std::unique_ptr<Gpu> gpu_;
    RunOn on_;
};

TEST_P(CudaOpCheck, a_right_op_passes_every_check) {
    for (auto check : {check_values, check_nan, check_errors, check_cuts, check_packed, check_steps})
        expect_passes(check(decay(Bug::none), on_));
    RunOn exact = on_;
    exact.exact = true;
    exact.repeat = false;
    expect_passes(check_values(decay(Bug::none), exact));
}

TEST_P(CudaOpCheck, planted_faults_are_caught) {
    for (const Bug bug : {Bug::writes_past_end, Bug::writes_past_row, Bug::reads_stale_scratch, Bug::writes_past_scratch,
                          Bug::ignores_strides, Bug::differs_between_runs, Bug::reads_stale_output,
                          Bug::overwrites_parameter_gradient, Bug::drops_state})
        EXPECT_TRUE(caught(check_values, bug, on_)) << static_cast<int>(bug);
    if (GetParam() == DType::bf16) {
        EXPECT_TRUE(caught(check_values, Bug::rounds_coarsely, on_));
    } else {
        EXPECT_TRUE(caught(check_values, Bug::small_error, on_));
        EXPECT_TRUE(caught(check_values, Bug::changes_input, on_));
        EXPECT_TRUE(caught(check_steps, Bug::step_mixes_rows, on_));
    }
    EXPECT_THROW(check_values(decay(Bug::takes_unplanned_scratch), on_), std::logic_error);
    EXPECT_TRUE(caught(check_nan, Bug::hides_nan, on_));
    EXPECT_TRUE(caught(check_nan, Bug::spreads_nan, on_));
    EXPECT_TRUE(caught(check_cuts, Bug::drops_state, on_));
    EXPECT_TRUE(caught(check_cuts, Bug::drops_state_gradient, on_));
    EXPECT_TRUE(caught(check_packed, Bug::ignores_starts, on_));
    EXPECT_TRUE(caught(check_steps, Bug::step_ignores_state, on_));
}

std::string name_of_type(const testing::TestParamInfo<DType>& t) {
    return name_of(t.param);
}
INSTANTIATE_TEST_SUITE_P(, CudaOpCheck, testing::Values(DType::f32, DType::bf16), name_of_type);

}  // namespace
}  // namespace adder
