#include "kernels/scan/scan.h"

#include <gtest/gtest.h>

#include "tests/io/scratch.h"
#include "kernels/common/isa.h"
#include "kernels/common/op_check.h"
#include "kernels/common/op_instance.h"
#include "kernels/scan/scan_cases.h"

namespace adder {
namespace {

using Case = ScanProblem::Case;
constexpr unsigned kAll = ScanProblem::kGate | ScanProblem::kStart | ScanProblem::kState;

class Scan : public testing::Test {
  protected:
    ~Scan() override { force_isa(""); }
};

void expect_passes(const CheckReport& r) {
    for (const std::string& f : r.failures) ADD_FAILURE() << f;
    EXPECT_TRUE(r.passed());
}

TEST_F(Scan, more_steps_than_a_call_on_a_gpu_can_have_are_refused_when_it_is_planned) {
    Arena scratch(Device::cuda, "scratch");
    Ctx ctx = Compute{.device = Device::cuda}.context(scratch, true);
    const int64_t L = kMostScanStepsCuda + 1;
    const auto absent = [](const Shape& shape) {
        return TensorRef(nullptr, DType::f32, shape, Device::cuda);
    };
    const TensorRef row = absent({1, L, 4}), states = absent({1, L, 2}), channels = absent({4}),
                    A_log = absent({4, 2});
    try {
        scan_forward(ctx, {row, row, A_log, states, states, channels, channels, {}, {}, {}},
                     {row, absent({1, 4, 2}), {}});
        FAIL();
    } catch (const Error& e) {
        EXPECT_STREQ(e.what(),
                     "[scan_forward] u: 2147483648 steps are more than a call on a GPU can have, 2147483647; "
                     "hint: a smaller --tile");
    }
}

TEST_F(Scan, final_state_has_the_same_bits_without_output_and_without_chunk_states) {
    for (const unsigned flags : {kAll, kAll | ScanProblem::kZoh}) {
        const Case c{kTest, 2, 150, 37, 13, flags};
        const OpCase whole = op_case<ScanProblem>(c);
        for (const std::string& isa : available_isas()) {
            force_isa(isa);
            ThreadPool pool(2);
            Instance run(whole, make_inputs(whole), DType::f32);
            run.forward(pool);
            const auto expected = run.bytes("hT");
            for (const auto& [y, states] : {std::pair{false, true}, {true, false}, {false, false}}) {
                OpCase part = whole;
                part.forward = [&, y = y, states = states](Ctx& ctx, TensorBag& a) {
                    scan_forward(
                        ctx, ScanProblem::args(c, a),
                        {y ? a["y"] : TensorRef(), a["hT"], states ? a["chunk_states"] : TensorRef()});
                };
                Instance again(part, make_inputs(whole), DType::f32);
                again.forward(pool);
                EXPECT_EQ(again.bytes("hT"), expected) << isa << " y " << y << " chunk states " << states;
            }
            OpCase in_place = whole;
            in_place.forward = [&](Ctx& ctx, TensorBag& a) {
                scan_forward(ctx, ScanProblem::args(c, a), {TensorRef(), a["h0"], TensorRef()});
            };
            Instance again(in_place, make_inputs(whole), DType::f32);
            again.forward(pool);
            EXPECT_EQ(again.bytes("h0"), expected) << isa << " in place";
        }
    }
}

TEST_F(Scan, an_absent_state_gradient_is_zero_and_an_absent_state_is_zero) {
    const Case with{kTest, 2, 70, 21, 6, ScanProblem::kGate | ScanProblem::kState};
    const OpCase c = op_case<ScanProblem>(with), bare = c.part(2, 70, false);
    Bag<double> numbers = make_inputs(c);
    for (const char* name : {"h0", "d_hT"}) std::fill(numbers.at(name).begin(), numbers.at(name).end(), 0.0);
    Bag<double> fewer = slice_bag(c, bare, numbers, 0, 0);
    for (const char* name : {"d_A_log", "d_D", "d_dt_bias"}) fewer.at(name) = numbers.at(name);
    ThreadPool pool(2);
    for (const DType real : {DType::f32, DType::f64}) {
        Instance zeros(c, numbers, real), absent(bare, fewer, real);
        for (Instance* run : {&zeros, &absent}) {
            run->forward(pool);
            run->backward(pool);
        }
        for (const char* name :
             {"y", "hT", "d_u", "d_dt_raw", "d_z", "d_B", "d_C", "d_A_log", "d_D", "d_dt_bias"})
            EXPECT_EQ(absent.bytes(name), zeros.bytes(name)) << name;
    }
}

// The gradient of a state that starts from nothing is still wanted by whoever made that nothing.
TEST_F(Scan, state_gradient_comes_back_without_an_initial_state) {
    const Case with{kTest, 1, 70, 21, 6, ScanProblem::kGate | ScanProblem::kState};
    OpCase c = op_case<ScanProblem>(with), absent = c;
    Bag<double> numbers = make_inputs(c);
    std::fill(numbers.at("h0").begin(), numbers.at("h0").end(), 0.0);
    auto without_state = [&](TensorBag a) {
        a.tensors.erase("h0");
        return a;
    };
    absent.forward = [&](Ctx& ctx, TensorBag& a) {
        TensorBag less = without_state(a);
        ScanProblem::forward(ctx, with, less);
    };
    absent.backward = [&](Ctx& ctx, TensorBag& a) {
        TensorBag less = without_state(a);
        ScanProblem::backward(ctx, with, less);
    };
    ThreadPool pool(1);
    for (const DType real : {DType::f32, DType::f64}) {
        Instance one(c, numbers, real), two(absent, numbers, real);
        for (Instance* run : {&one, &two}) {
            run->forward(pool);
            run->backward(pool);
        }
        EXPECT_EQ(two.bytes("d_hT"), one.bytes("d_hT"));
    }
}

// Saturated and vanishing steps: exp underflows, softplus is its argument or nearly zero, zoh's series takes
// over.
TEST_F(Scan, extreme_steps_are_as_exact_as_the_reference) {
    for (const unsigned flags : {kAll, kAll | ScanProblem::kZoh}) {
        const Case c{kTest, 1, 130, 24, 4, flags};
        OpCase o = op_case<ScanProblem>(c);
        for (ArraySpec& s : o.inputs) {
            if (s.name == "dt_bias") s = ArraySpec::parameter("dt_bias", s.shape).uniform(-16, 8);
            if (s.name == "dt_raw") s = ArraySpec::activation("dt_raw", s.shape).normal(0, 12);
            if (s.name == "A_log") s = ArraySpec::parameter("A_log", s.shape).uniform(-9, 6);
        }
        for (const std::string& isa : available_isas()) {
            force_isa(isa);
            expect_passes(check_values(o));
        }
    }
}

// Arguments of a planning call: shapes without memory.
ScanArgs shapes(int64_t B, int64_t L, int64_t D, int64_t N) {
    ScanArgs a;
    a.u = a.dt_raw = TensorRef(nullptr, DType::f32, {B, L, D});
    a.A_log = TensorRef(nullptr, DType::f32, {D, N});
    a.B = a.C = TensorRef(nullptr, DType::f32, {B, L, N});
    a.D = a.dt_bias = TensorRef(nullptr, DType::f32, {D});
    return a;
}

ScanGrads gradient_shapes(const ScanArgs& a) {
    ScanGrads g;
    g.d_y = g.d_u = g.d_dt_raw = a.u;
    g.d_B = g.d_C = a.B;
    g.d_A_log = a.A_log;
    g.d_D = g.d_dt_bias = a.D;
    return g;
}

TEST_F(Scan, arguments_that_do_not_fit_together_are_named) {
    Ctx ctx;
    for (const int64_t N : {int64_t{0}, int64_t{257}})
        EXPECT_EQ(error_of([&] { scan_forward(ctx, shapes(1, 2, 3, N), {}); }),
                  fmt::format("[scan_forward] A_log: expected (D,N) with N from 1 to 256, got (3,{})", N));
    const ScanArgs two = shapes(1, 2, 3, 4);
    EXPECT_EQ(error_of([&] {
                  scan_step(ctx, two, TensorRef(nullptr, DType::f32, {1, 3, 4}), two.u);
              }),
              "[scan_step] u: expected (B,1,D), got (1,2,3)");
    ScanGrads grads = gradient_shapes(two);
    grads.d_z = two.u;
    const TensorRef states(nullptr, DType::f32, scan_chunk_states_shape(1, 2, 3, 4));
    EXPECT_EQ(error_of([&] { scan_backward(ctx, two, states, grads); }),
              "[scan_backward] d_z: given without z: got f32 (1,2,3)");
    ScanArgs in_place = two;
    float memory[12];
    in_place.h0 = TensorRef(memory, DType::f32, {1, 3, 4});
    EXPECT_EQ(error_of([&] {
                  scan_forward(ctx, in_place, {two.u, in_place.h0, states});
              }),
              "[scan_forward] hT: overlaps h0, which backward still needs");
}

TEST_F(Scan, scratch_does_not_grow_with_length) {
    const auto scratch_bytes = [](int64_t B, int64_t L, int64_t D, int64_t N) {
        const ScanArgs a = shapes(B, L, D, N);
        Arena plan;
        Ctx ctx;
        ctx.scratch = &plan;
        ctx.dry_run = true;
        const TensorRef h(nullptr, DType::f32, {B, D, N});
        const TensorRef states(nullptr, DType::f32, scan_chunk_states_shape(B, L, D, N));
        scan_forward(ctx, a, {a.u, h, states});
        scan_backward(ctx, a, states, gradient_shapes(a));
        return plan.peak_bytes();
    };
    EXPECT_LT(scratch_bytes(1, int64_t{1} << 18, 256, 16), 20 << 20);
    EXPECT_EQ(scratch_bytes(1, int64_t{1} << 28, 256, 16), scratch_bytes(1, int64_t{1} << 18, 256, 16));
    EXPECT_LT(scratch_bytes(8, int64_t{1} << 18, 1536, 16), 24 << 20);
}

// Partials of dB and dC are summed in spans of time: a batch large enough for several spans equals its rows.
TEST_F(Scan, several_spans_of_time_equal_one) {
    const Case c{kTest, 40, 200, 66, 130, ScanProblem::kGate};
    const OpCase whole = op_case<ScanProblem>(c), one = whole.part(1, 200, false);
    const Bag<double> numbers = make_inputs(whole);
    ThreadPool pool(2);
    Instance all(whole, numbers, DType::f32);
    all.forward(pool);
    all.backward(pool);
    const std::vector<double> d_B = all.values("d_B"), d_u = all.values("d_u");
    for (const int64_t b : {int64_t{0}, int64_t{39}}) {
        Instance row(one, slice_bag(whole, one, numbers, b, 0), DType::f32);
        row.forward(pool);
        row.backward(pool);
        const auto equal = [&](const char* name, const std::vector<double>& of_all) {
            const std::vector<double> mine = row.values(name);
            EXPECT_TRUE(
                std::equal(mine.begin(), mine.end(), of_all.begin() + b * static_cast<int64_t>(mine.size())))
                << name;
        };
        equal("d_B", d_B);
        equal("d_u", d_u);
    }
}

}  // namespace
}  // namespace adder
