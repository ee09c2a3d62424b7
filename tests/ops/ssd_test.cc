// What the shared truth chain does not see of ssd: the duality, the forms that the twin did not pick, and
// absent outputs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/common/isa.h"
#include "kernels/common/op_check.h"
#include "kernels/common/op_instance.h"
#include "kernels/ssd/ssd_cases.h"
#include "kernels/ssd/ssd_cpu.h"
#include "tests/ops/ssd_dual_ref.h"

namespace adder {
namespace {

using Case = SsdCases::Case;

// y and hT.
struct Result {
    std::vector<double> y, hT;
};

template <class S, class Run>
Result compute(const Case& c, Run run) {
    Bag<S> bag = make_inputs(op_case<SsdCases>(c)).template as<S>();
    add_outputs(op_case<SsdCases>(c), bag);
    run(SsdCases::problem(c, bag),
        SsdResult<S>{bag.template out<3>("y"), bag.template out<4>("hT"), nullptr});
    Result r;
    r.y.assign(bag.at("y").begin(), bag.at("y").end());
    r.hT.assign(bag.at("hT").begin(), bag.at("hT").end());
    return r;
}

template <class S>
Result recurrence(const Case& c) {
    return compute<S>(c, [&](const SsdProblem<S>& a, const SsdResult<S>& out) {
        std::vector<S> state(static_cast<size_t>(c.P * c.N));
        ref::ssd_forward(a, out, state.data());
    });
}

Result twin(const Case& c, cpu::SsdForm form, int threads) {
    return compute<float>(c, [&](const SsdProblem<float>& a, const SsdResult<float>& out) {
        ThreadPool pool(threads);
        Ctx ctx;
        ctx.pool = &pool;
        Arena scratch;
        const int64_t bytes = cpu::ssd_forward_scratch_bytes(a, form);
        scratch.bind(bytes + 2 * Arena::kAlign, true);
        void* memory = bytes > 0 ? scratch.alloc(DType::u8, {bytes}).data : nullptr;
        cpu::ssd_forward(ctx, a, out, memory, form);
    });
}

void expect_same(const Result& got, const Result& want, const std::string& at) {
    EXPECT_LE(errors_of(got.y, want.y).peak, 1e-12) << at << " y";
    EXPECT_LE(errors_of(got.hT, want.hT).peak, 1e-12) << at << " hT";
}

void expect_within_tolerance(const std::vector<double>& got, const std::vector<double>& in_float,
                             const std::vector<double>& want, const std::string& at) {
    const Tolerance floor;
    const Errors e = errors_of(got, want), r = errors_of(in_float, want);
    EXPECT_LE(e.rms, std::min(std::max(2 * r.rms, floor.rms), floor.cap)) << at;
    EXPECT_LE(e.peak, std::min(std::max(4 * r.peak, floor.peak), floor.cap)) << at;
}

std::vector<Case> test_cases() {
    std::vector<Case> some;
    for (const Case& c : SsdCases::cases())
        if (c.use & kTest) some.push_back(c);
    return some;
}

TEST(SsdDuality, quadratic_form_equals_the_recurrence) {
    for (const Case& c : test_cases()) {
        if (c.L > 131) continue;
        const Result got = compute<double>(c, [](const SsdProblem<double>& a, const SsdResult<double>& out) {
            ref::ssd_forward_quadratic(a, out);
        });
        expect_same(got, recurrence<double>(c), SsdCases::name(c));
    }
}

TEST(SsdDuality, chunked_form_equals_the_recurrence_at_any_chunk) {
    for (const Case& c : test_cases())
        for (const int64_t Q : {1, 7, 16, 64}) {
            const Result got =
                compute<double>(c, [&](const SsdProblem<double>& a, const SsdResult<double>& out) {
                    ref::ssd_forward_chunked(a, out, Q);
                });
            expect_same(got, recurrence<double>(c), SsdCases::name(c) + " chunks of " + std::to_string(Q));
        }
}

TEST(SsdForms, both_match_the_reference_on_every_isa) {
    for (const Case& c : test_cases()) {
        const Result want = recurrence<double>(c), in_float = recurrence<float>(c);
        for (const std::string& isa : available_isas()) {
            force_isa(isa);
            for (const auto form : {cpu::SsdForm::chunked, cpu::SsdForm::recurrence}) {
                const Result got = twin(c, form, 2);
                const std::string at =
                    fmt::format("{} {} form {}", SsdCases::name(c), isa, static_cast<int>(form));
                expect_within_tolerance(got.y, in_float.y, want.y, at + " y");
                expect_within_tolerance(got.hT, in_float.hT, want.hT, at + " hT");
            }
        }
        force_isa("");
    }
}

TEST(SsdForms, threads_do_not_change_bits) {
    for (const Case& c : test_cases())
        for (const auto form : {cpu::SsdForm::chunked, cpu::SsdForm::recurrence}) {
            const Result one = twin(c, form, 1);
            for (const int threads : {2, 3, 7}) {
                const Result many = twin(c, form, threads);
                EXPECT_EQ(one.y, many.y) << SsdCases::name(c) << " " << threads << " threads";
                EXPECT_EQ(one.hT, many.hT) << SsdCases::name(c) << " " << threads << " threads";
            }
        }
}

// The public op over one instance, with `drop` absent.
struct Call {
    Instance run;
    ThreadPool pool{2};
    Call(const Case& c, DType real) : run(op_case<SsdCases>(c), make_inputs(op_case<SsdCases>(c)), real) {}
    void forward(const Case& c, const std::vector<std::string>& drop, const std::string& hT = "hT") {
        TensorBag bag = run.bag();
        bag.tensors["hT"] = run.bag()[hT];
        for (const std::string& name : drop) bag.tensors.erase(name);
        call([&](Ctx& ctx, TensorBag& b) { SsdCases::forward(ctx, c, b); }, bag);
    }
    void call(const std::function<void(Ctx&, TensorBag&)>& f, TensorBag bag) {
        Arena plan, scratch;
        Ctx ctx;
        ctx.pool = &pool;
        ctx.scratch = &plan;
        ctx.dry_run = true;
        TensorBag planned = bag;
        for (auto& [name, t] : planned.tensors) t.data = nullptr;
        f(ctx, planned);
        scratch.bind(plan.peak_bytes(), true);
        ctx.scratch = &scratch;
        ctx.dry_run = false;
        f(ctx, bag);
    }
};

TEST(SsdForward, final_state_has_the_same_bits_when_only_it_is_wanted) {
    for (const Case& c : test_cases())
        for (const DType real : {DType::f32, DType::f64}) {
            Call call(c, real);
            call.forward(c, {});
            const auto want = call.run.bytes("hT");
            for (const auto& drop :
                 std::vector<std::vector<std::string>>{{"y"}, {"chunk_states"}, {"y", "chunk_states"}}) {
                call.run.reset();
                call.forward(c, drop);
                EXPECT_EQ(call.run.bytes("hT"), want) << SsdCases::name(c) << " " << name_of(real);
            }
        }
}

TEST(SsdForward, state_may_be_advanced_in_place_when_nothing_is_kept) {
    for (const Case& c : test_cases()) {
        if (!c.state) continue;
        Call call(c, DType::f32);
        call.forward(c, {});
        const auto y = call.run.bytes("y"), hT = call.run.bytes("hT");
        call.run.reset();
        call.forward(c, {"chunk_states"}, "h0");
        EXPECT_EQ(call.run.bytes("h0"), hT) << SsdCases::name(c);
        EXPECT_EQ(call.run.bytes("y"), y) << SsdCases::name(c);
    }
}

TEST(SsdForward, state_in_place_with_kept_chunk_states_is_refused) {
    const Case c{kTest, 1, 3, 1, 2, 4, 1, true};
    Call call(c, DType::f32);
    EXPECT_THAT([&] { call.forward(c, {}, "h0"); }, testing::ThrowsMessage<Error>(testing::HasSubstr("hT")));
}

TEST(SsdBackward, absent_state_gradient_is_a_zero_one) {
    for (const Case& c : test_cases()) {
        if (!c.state) continue;
        Call call(c, DType::f32);
        const auto backward = [&](Ctx& ctx, TensorBag& b) { SsdCases::backward(ctx, c, b); };
        const std::vector<std::string> names = {"d_x",     "d_dt_raw", "d_B",      "d_C",
                                                "d_A_log", "d_D",      "d_dt_bias"};
        call.forward(c, {});
        call.run.set("d_hT", std::vector<double>(static_cast<size_t>(c.B * c.H * c.P * c.N)));
        call.call(backward, call.run.bag());
        std::vector<std::vector<unsigned char>> want;
        for (const std::string& name : names) want.push_back(call.run.bytes(name));
        call.run.reset();
        call.forward(c, {});
        TensorBag bag = call.run.bag();
        bag.tensors.erase("d_hT");
        call.call(backward, bag);
        for (size_t i = 0; i < names.size(); ++i)
            EXPECT_EQ(call.run.bytes(names[i]), want[i]) << SsdCases::name(c) << " " << names[i];
    }
}

TEST(SsdStep, takes_one_step_only) {
    const Case c{kTest, 1, 2, 1, 2, 4, 1, false};
    Call call(c, DType::f32);
    EXPECT_THAT(
        [&] { call.call([&](Ctx& ctx, TensorBag& b) { SsdCases::step(ctx, c, b); }, call.run.bag()); },
        testing::ThrowsMessage<Error>(testing::HasSubstr("expected L = 1, got f32 (1,2,2)")));
}

TEST(SsdArgs, impossible_sizes_are_named) {
    const Case fits{kTest, 1, 2, 3, 2, 4, 1, false};
    Call call(fits, DType::f32);
    Case groups = fits, states = fits;
    groups.G = 2;
    states.N = 257;
    EXPECT_THAT([&] { call.forward(groups, {}); },
                testing::ThrowsMessage<Error>(testing::HasSubstr("divisor of H = 3, got 2")));
    EXPECT_THAT([&] { call.forward(states, {}); },
                testing::ThrowsMessage<Error>(testing::HasSubstr("1 to 256, got 257")));
}

}  // namespace
}  // namespace adder
