// What the linear maps promise on a GPU beside the truth chain.
#include <cmath>

#include "kernels/common/op_check.h"
#include "kernels/gemm/gemm_cases.h"
#include "tests/ops/on_gpu.h"

namespace adder {
namespace {

OpCase case_of(int64_t B, int64_t L, int64_t I, int64_t O, bool bias) {
    return op_case<LinearProblem>({kTest, B, L, I, O, bias});
}

// y in f64 from numbers that are of type `storage`.
std::vector<double> exact(const OpCase& c, DType storage) {
    Bag<double> bag = make_inputs(c, storage);
    add_outputs(c, bag);
    c.ref_forward.f64(bag);
    return bag.at("y");
}

class CudaLinear : public test::OnGpu {};

TEST_F(CudaLinear, a_row_of_a_step_has_the_same_bits_in_any_batch) {
    ThreadPool pool(1);
    for (const DType storage : {DType::f32, DType::bf16})
        // One group of outputs and several; wider tiles; the widest, whose queue begins anew.
        for (const auto& [I, O] :
             {std::pair<int64_t, int64_t>{16, 8}, {83, 43}, {264, 43}, {1600, 8}, {264, 300}, {840, 430}}) {
            const OpCase whole = case_of(70, 1, I, O, true);
            const Bag<double> numbers = make_inputs(whole, storage);
            Instance all(whole, numbers, on(storage));
            all.step(pool);
            const std::vector<double> want = all.values("y");
            for (const auto& [b, B] : {std::pair<int64_t, int64_t>{0, 1}, {7, 2}, {33, 16}, {50, 20}})
                for (const Layout layout : {Layout::contiguous, Layout::strided}) {
                    const OpCase part = whole.part(B, 1, false);
                    Instance some(part, slice_bag(whole, part, numbers, b, 0), on(storage), layout);
                    some.step(pool);
                    const std::vector<double> got = some.values("y");
                    EXPECT_TRUE(std::equal(got.begin(), got.end(), want.begin() + b * O))
                        << name_of(storage) << " I " << I << " rows " << b << " to " << b + B;
                }
        }
}

TEST_F(CudaLinear, logits_are_f32_whatever_the_storage) {
    ThreadPool pool(1);
    for (const int64_t L : {1, 40}) {
        OpCase c = case_of(3, L, 64, 20, false);
        c.outputs[0] = ArraySpec::activation("y", {3, L, 20}).accum();
        Instance run(c, make_inputs(c, DType::bf16), on(DType::bf16));
        const std::vector<double> want = exact(c, DType::bf16);
        run.forward(pool);
        EXPECT_LT(errors_of(run.values("y"), want).peak, 2e-6);
        if (L > 1) continue;
        run.reset();
        run.step(pool);
        EXPECT_LT(errors_of(run.values("y"), want).peak, 2e-6);
    }
}

TEST_F(CudaLinear, input_gradients_add_up_where_asked) {
    ThreadPool pool(1);
    OpCase c = case_of(3, 300, 40, 33, false);
    const auto gradient = [&](bool add, double before) {
        c.backward = [add](Ctx& to, TensorBag& a) {
            linear_backward_input(to, LinearProblem::args(a), a["d_y"], a["d_x"], add);
        };
        Instance run(c, make_inputs(c), on(DType::f32));
        run.set("d_x", std::vector<double>(static_cast<size_t>(3 * 300 * 40), before));
        run.backward(pool);
        return run.values("d_x");
    };
    std::vector<double> want = gradient(false, 5);
    const std::vector<double> added = gradient(true, 5);
    EXPECT_GT(errors_of(added, want).peak, 0.1);
    for (double& x : want) x += 5;
    EXPECT_LT(errors_of(added, want).peak, 1e-6);
}

// Both ends of time, for every product.
TEST_F(CudaLinear, time_may_run_backwards) {
    constexpr int64_t B = 2, L = 300, I = 20, O = 12;
    ThreadPool pool(1);
    OpCase c = case_of(B, L, I, O, false);
    const auto reversed = [](TensorRef t) {
        if (t.data) t.data = static_cast<char*>(t.data) + (L - 1) * t.stride[1] * size_of(t.dtype);
        t.stride[1] = -t.stride[1];
        return t;
    };
    const auto results = [&](bool backwards, bool weights_only_x) {
        const auto view = [&](const TensorRef& t) { return backwards ? reversed(t) : t; };
        c.backward = [=](Ctx& to, TensorBag& a) {
            const LinearArgs args{view(a["x"]), a["weight"], {}};
            // One of two reversed: no longer the same pairs of rows, but still a product.
            const LinearArgs half{weights_only_x ? reversed(a["x"]) : args.x, a["weight"], {}};
            linear_forward(to, args, view(a["y"]));
            linear_backward_input(to, args, view(a["d_y"]), view(a["d_x"]), false);
            linear_backward_weight(to, half, weights_only_x ? a["d_y"] : view(a["d_y"]), a["d_weight"], {});
        };
        Instance run(c, make_inputs(c), on(DType::f32));
        run.backward(pool);
        std::vector<std::vector<double>> all;
        for (const char* name : {"y", "d_x", "d_weight"}) all.push_back(run.values(name));
        return all;
    };
    const auto forwards = results(false, false), backwards = results(true, false),
               crossed = results(false, true);
    for (size_t i = 0; i < 3; ++i) EXPECT_LT(errors_of(backwards[i], forwards[i]).peak, 3e-6) << i;
    EXPECT_GT(errors_of(crossed[2], forwards[2]).peak, 0.1);
    for (const double x : crossed[2]) EXPECT_TRUE(std::isfinite(x));
}

}  // namespace
}  // namespace adder
