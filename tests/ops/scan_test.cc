#include "kernels/scan/scan.h"

#include <gtest/gtest.h>

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
                    scan_forward(ctx, ScanProblem::args(c, a), {y ? a["y"] : TensorRef(), a["hT"],
                                                                states ? a["chunk_states"] : TensorRef()});
                };
                Instance again(part, make_inputs(whole), DType::f32);
                again.forward(pool);
                EXPECT_EQ(again.bytes("hT"), expected) << isa << " y " << y << " chunk states " << states;
            }
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
        for (const char* name : {"y", "hT", "d_u", "d_dt_raw", "d_z", "d_B", "d_C", "d_A_log", "d_D", "d_dt_bias"})
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

// Saturated and vanishing steps: exp underflows, softplus is its argument or nearly zero, zoh's series takes over.
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

TEST_F(Scan, a_state_size_out_of_range_is_named) {
    for (const int64_t N : {int64_t{0}, int64_t{257}}) {
        ScanArgs a;
        a.u = a.dt_raw = TensorRef(nullptr, DType::f32, {1, 2, 3});
        a.A_log = TensorRef(nullptr, DType::f32, {3, N});
        a.B = a.C = TensorRef(nullptr, DType::f32, {1, 2, N});
        a.D = a.dt_bias = TensorRef(nullptr, DType::f32, {3});
        Ctx ctx;
        try {
            scan_forward(ctx, a, {});
            FAIL();
        } catch (const Error& e) {
            EXPECT_NE(std::string(e.what()).find("N from 1 to 256, got (3," + std::to_string(N) + ")"), std::string::npos)
                << e.what();
        }
    }
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
            EXPECT_TRUE(std::equal(mine.begin(), mine.end(), of_all.begin() + b * static_cast<int64_t>(mine.size()))) << name;
        };
        equal("d_B", d_B);
        equal("d_u", d_u);
    }
}

}  // namespace
}  // namespace adder
