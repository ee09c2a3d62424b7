#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/common/isa.h"
#include "kernels/common/op_check.h"
#include "kernels/common/op_instance.h"
#include "kernels/gemm/gemm_cases.h"

namespace adder {
namespace {

OpCase case_of(int64_t B, int64_t L, int64_t I, int64_t O, bool bias) {
    return op_case<LinearProblem>({kTest, B, L, I, O, bias});
}

// A case that leaves its input gradient on top of what was there.
Instance adding(const OpCase& c, bool add) {
    OpCase adds = c;
    adds.backward = [add](Ctx& ctx, TensorBag& a) {
        linear_backward_input(ctx, LinearProblem::args(a), a["d_y"], a["d_x"], add);
    };
    return Instance(adds, make_inputs(c), DType::f32);
}

TEST(Linear, input_gradients_add_up_where_asked) {
    const OpCase c = case_of(3, 300, 40, 33, false);
    ThreadPool pool(2);
    Instance fresh = adding(c, false), added = adding(c, true);
    fresh.backward(pool);
    std::vector<double> before(static_cast<size_t>(3 * 300 * 40));
    for (size_t i = 0; i < before.size(); ++i) before[i] = static_cast<double>(i % 64) - 32;
    added.set("d_x", before);
    added.backward(pool);
    std::vector<double> want = fresh.values("d_x");
    for (size_t i = 0; i < want.size(); ++i) want[i] += before[i];
    EXPECT_LT(errors_of(added.values("d_x"), want).peak, 1e-6);
    EXPECT_GT(errors_of(fresh.values("d_x"), want).peak, 0.1);
}

// Rows [b, b + B) x [t, t + L) on their own.
std::vector<double> forward_part(const OpCase& whole, int64_t b, int64_t B, int64_t t, int64_t L) {
    ThreadPool pool(2);
    const OpCase part = whole.part(B, L, false);
    Instance run(part, slice_bag(whole, part, make_inputs(whole), b, t), DType::f32);
    run.forward(pool);
    return run.values("y");
}

TEST(Linear, a_row_has_the_same_bits_in_any_batch_and_in_any_tile_cut_at_256) {
    constexpr int64_t B = 3, L = 700, O = 50;
    const OpCase c = case_of(B, L, 70, O, true);
    const std::vector<double> whole = forward_part(c, 0, B, 0, L);
    for (int64_t b = 0; b < B; ++b)
        for (const auto& [t, n] : {std::pair<int64_t, int64_t>{0, 256}, {256, 444}, {512, 188}}) {
            const std::vector<double> part = forward_part(c, b, 1, t, n);
            EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + (b * L + t) * O))
                << b << " " << t;
        }
}

TEST(Linear, a_step_is_right_at_every_batch_size_and_isa) {
    for (const std::string& isa : available_isas()) {
        force_isa(isa);
        for (int64_t B : {1, 2, 4, 7, 64}) {
            const OpCase c = case_of(B, 1, 83, 700, true);
            ThreadPool pool(3);
            Instance step(c, make_inputs(c), DType::f32), exact(c, make_inputs(c), DType::f64);
            step.step(pool);
            exact.forward(pool);
            EXPECT_LT(errors_of(step.values("y"), exact.values("y")).peak, 2e-6) << isa << " B " << B;
        }
    }
    force_isa("");
}

TEST(Linear, time_may_run_backwards) {
    const OpCase c = case_of(1, 300, 20, 12, false);
    ThreadPool pool(1);
    Instance run(c, make_inputs(c), DType::f32), reversed(c, make_inputs(c), DType::f32);
    run.forward(pool);
    for (const char* name : {"x", "y"}) {
        TensorRef& t = reversed.bag().tensors[name];
        t.data = static_cast<float*>(t.data) + 299 * t.stride[1];
        t.stride[1] = -t.stride[1];
    }
    reversed.forward(pool);
    std::vector<double> back = reversed.values("y");
    const std::vector<double> want = run.values("y");
    std::vector<double> flipped;
    for (int64_t t = 299; t >= 0; --t)
        flipped.insert(flipped.end(), back.begin() + t * 12, back.begin() + (t + 1) * 12);
    EXPECT_LT(errors_of(flipped, want).peak, 2e-6);
}

TEST(Linear, a_bias_gradient_needs_a_bias_and_a_step_has_one_row) {
    Ctx ctx;
    Arena plan;
    ctx.scratch = &plan;
    ctx.dry_run = true;
    const TensorRef x(nullptr, DType::f32, {2, 5, 3}), w(nullptr, DType::f32, {4, 3}),
        b(nullptr, DType::f32, {4}), y(nullptr, DType::f32, {2, 5, 4});
    EXPECT_NO_THROW(linear_backward_weight(ctx, {x, w, b}, y, w, b));
    EXPECT_THROW(linear_backward_weight(ctx, {x, w, {}}, y, w, b), Error);
    EXPECT_THROW(linear_backward_weight(ctx, {x, w, b}, y, w, {}), Error);
    EXPECT_THROW(linear_step(ctx, {x, w, b}, y), Error);
}

TEST(Linear, more_rows_than_a_step_on_a_gpu_can_have_are_refused_when_it_is_planned) {
    Arena scratch(Device::cuda, "scratch");
    Ctx ctx;
    ctx.device = Device::cuda;
    ctx.scratch = &scratch;
    ctx.dry_run = true;
    const auto absent = [](const Shape& shape) { return TensorRef(nullptr, DType::f32, shape, Device::cuda); };
    const auto step = [&](int64_t B) { linear_step(ctx, {absent({B, 1, 4}), absent({3, 4}), {}}, absent({B, 1, 3})); };
    EXPECT_NO_THROW(step(kMostStepRowsCuda));
    try {
        step(kMostStepRowsCuda + 1);
        FAIL();
    } catch (const Error& e) {
        EXPECT_STREQ(e.what(), "[linear_step] x: 524281 rows are more than a step on a GPU can have, 524280; "
                               "hint: a smaller --batch");
    }
}

}  // namespace
}  // namespace adder
