// The checks themselves, on a small recurrence that is right, or wrong in one known way:
//   h[t] = h[t-1] / 2 + x[t],   y[t] = w h[t]
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/common/op_check.h"
#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"

namespace adder {
namespace {

enum class Bug {
    none,
    small_error,
    wrong_backward,
    overwrites_parameter_gradient,
    changes_input,
    writes_past_row,
    reads_stale_output,
    hides_nan,
    spreads_nan,
    depends_on_threads,
    differs_between_runs,
    accepts_any_shape,
    drops_state,
    drops_state_gradient,
    ignores_starts,
    step_ignores_state,
    step_mixes_rows,
    f64_in_float,
    writes_past_scratch,
    constant_output
};

template <class S>
void decay_forward(View<const S, 3> x, View<const S, 1> w, View<const uint8_t, 2> start, View<const S, 2> h0,
                   View<S, 3> y, View<S, 2> hT, bool ignore_starts = false) {
    for (int64_t b = 0; b < x.shape[0]; ++b)
        for (int64_t d = 0; d < x.shape[2]; ++d) {
            S h = h0 ? h0(b, d) : S(0);
            for (int64_t t = 0; t < x.shape[1]; ++t) {
                if (start && start(b, t) && !ignore_starts) h = S(0);
                h = S(0.5) * h + x(b, t, d);
                y(b, t, d) = w(d) * h;
            }
            hT(b, d) = h;
        }
}

template <class S>
void decay_backward(View<const S, 3> x, View<const S, 1> w, View<const uint8_t, 2> start, View<const S, 2> h0,
                    View<const S, 3> d_y, View<S, 3> d_x, View<S, 1> d_w, View<S, 2> d_h) {
    std::vector<S> h(static_cast<size_t>(x.shape[1]));
    for (int64_t b = 0; b < x.shape[0]; ++b)
        for (int64_t d = 0; d < x.shape[2]; ++d) {
            S state = h0 ? h0(b, d) : S(0), g = d_h(b, d);
            for (int64_t t = 0; t < x.shape[1]; ++t) {
                if (start && start(b, t)) state = S(0);
                h[static_cast<size_t>(t)] = state = S(0.5) * state + x(b, t, d);
            }
            for (int64_t t = x.shape[1]; t-- > 0;) {
                d_w(d) += d_y(b, t, d) * h[static_cast<size_t>(t)];
                g += w(d) * d_y(b, t, d);
                d_x(b, t, d) = g;
                g = start && start(b, t) ? S(0) : S(0.5) * g;
            }
            d_h(b, d) = g;
        }
}

int calls = 0;  // what no op may have

template <class S>
void run_forward(Ctx& ctx, Bug bug, const TensorBag& a, void* scratch) {
    auto x = a["x"].as<S, 3>("x");
    auto y = a["y"].as<S, 3>("y");
    auto hT = a["hT"].as<S, 2>("hT");
    const auto h0 = bug == Bug::drops_state ? View<const S, 2>{} : a["h0"].as<const S, 2>("h0");
    const S before = y(0, 0, 0);
    decay_forward<S>(a["x"].as<const S, 3>("x"), a["w"].as<const S, 1>("w"),
                     a["start"].as<const uint8_t, 2>("start"), h0, y, hT, bug == Bug::ignores_starts);
    switch (bug) {
        case Bug::small_error:
            y(0, x.shape[1] - 1, 0) += S(1e-4);
            break;
        case Bug::changes_input:
            x(0, 0, 0) += S(1e-6);
            break;
        case Bug::writes_past_row:
            if (y.stride[1] > x.shape[2]) (&y(0, 0, 0))[x.shape[2]] = 1;
            break;
        case Bug::reads_stale_output:
            y(0, 0, 0) += S(0) * before;
            break;
        case Bug::hides_nan:
            for (int64_t i = 0; i < x.shape[0] * x.shape[1] * x.shape[2]; ++i)
                if (std::isnan(y.data[i])) y.data[i] = 0;
            break;
        case Bug::spreads_nan:
            y(0, 0, 0) += S(0) * x(x.shape[0] - 1, 0, 0);
            break;
        case Bug::depends_on_threads:
            y(0, 0, 0) *= S(1) + S(1e-7) * static_cast<S>(ctx.pool->size() % 2);
            break;
        case Bug::differs_between_runs:
            y(0, 0, 0) *= S(1) + S(1e-7) * static_cast<S>(++calls % 2);
            break;
        case Bug::f64_in_float:
            y(0, 0, 0) = static_cast<float>(y(0, 0, 0));
            break;
        case Bug::writes_past_scratch:
            static_cast<char*>(scratch)[64] = 0;
            break;
        default:
            break;
    }
}

template <class S>
void run_backward(Bug bug, const TensorBag& a) {
    auto d_w = a["d_w"].as<S, 1>("d_w");
    auto d_h = a["d_hT"].as<S, 2>("d_hT");
    if (bug == Bug::overwrites_parameter_gradient)
        for (int64_t d = 0; d < d_w.shape[0]; ++d) d_w(d) = 0;
    if (bug == Bug::drops_state_gradient)
        for (int64_t b = 0; b < d_h.shape[0]; ++b)
            for (int64_t d = 0; d < d_h.shape[1]; ++d) d_h(b, d) = 0;
    decay_backward<S>(a["x"].as<const S, 3>("x"), a["w"].as<const S, 1>("w"),
                      a["start"].as<const uint8_t, 2>("start"), a["h0"].as<const S, 2>("h0"),
                      a["d_y"].as<const S, 3>("d_y"), a["d_x"].as<S, 3>("d_x"), d_w, d_h);
}

void run_step(Bug bug, const TensorBag& a, bool f64) {
    auto step = [&]<class S>(S) {
        auto h = a["hT"].as<S, 2>("hT");
        auto y = a["y"].as<S, 3>("y");
        const auto in = bug == Bug::step_ignores_state ? View<const S, 2>{} : a["hT"].as<const S, 2>("hT");
        decay_forward<S>(a["x"].as<const S, 3>("x"), a["w"].as<const S, 1>("w"),
                         a["start"].as<const uint8_t, 2>("start"), in, y, h);
        if (bug == Bug::step_mixes_rows) y(0, 0, 0) += S(1e-7) * static_cast<S>(y.shape[0]);
    };
    f64 ? step(double{}) : step(float{});
}

struct Decay {
    static constexpr const char* op = "decay";
    static constexpr bool sequence = true;
    struct Case {
        unsigned use;
        int64_t B, L, D;
        bool state;
        Bug bug;
    };
    static std::string name(const Case& c) { return fmt::format("B{} L{} D{}", c.B, c.L, c.D); }
    static Case part(Case c, int64_t B, int64_t L, bool state) {
        c.B = B;
        c.L = L;
        c.state = state;
        return c;
    }
    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("x", {c.B, c.L, c.D}),
                                      ArraySpec::parameter("w", {c.D})};
        if (c.state) all.push_back(ArraySpec::state("h0", {c.B, c.D}).gradient_in("d_hT"));
        all.push_back(ArraySpec::start_flags("start", c.B, c.L));
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        return {ArraySpec::activation("y", {c.B, c.L, c.D}),
                ArraySpec::state("hT", {c.B, c.D}).continuing("h0")};
    }
    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        auto y = a.template out<3>("y");
        decay_forward<S>(a.template in<3>("x"), a.template in<1>("w"), a.flags("start"),
                         a.template in<2>("h0"), y, a.template out<2>("hT"));
        if (c.bug != Bug::constant_output) return;
        for (int64_t i = 0; i < y.shape[0] * y.shape[1] * y.shape[2]; ++i) y.data[i] = S(1);
    }
    template <class S>
    static void ref_backward(const Case& c, Bag<S>& a) {
        decay_backward<S>(a.template in<3>("x"), a.template in<1>("w"), a.flags("start"),
                          a.template in<2>("h0"), a.template in<3>("d_y"), a.template out<3>("d_x"),
                          a.template out<1>("d_w"), a.template out<2>("d_hT"));
        if (c.bug == Bug::wrong_backward) a.template out<1>("d_w")(0) *= S(1 + 1e-9);
    }
    static DType check(const Case& c, const TensorBag& a) {
        const DType S = storage_of(op, "x", a["x"]);
        if (c.bug == Bug::accepts_any_shape) return S;
        const int64_t B = a["x"].size(0), L = a["x"].size(1), D = a["x"].size(2);
        expect(op, "w", a["w"], S, {D});
        expect_optional(op, "start", a["start"], DType::u8, {B, L});
        expect_optional(op, "h0", a["h0"], S, {B, D});
        expect(op, "y", a["y"], S, {B, L, D});
        expect(op, "hT", a["hT"], S, {B, D});
        return S;
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        const DType S = check(c, a);
        run_op(ctx, {op, {}, {}}, 64, [&](Ctx& x, void* scratch) {
            S == DType::f64 ? run_forward<double>(x, c.bug, a, scratch)
                            : run_forward<float>(x, c.bug, a, scratch);
        });
    }
    static void backward(Ctx& ctx, const Case& c, TensorBag& a) {
        const DType S = check(c, a);
        expect(op, "d_x", a["d_x"], S, a["x"].shape);
        expect(op, "d_w", a["d_w"], S, a["w"].shape);
        expect(op, "d_hT", a["d_hT"], S, a["hT"].shape);
        run_op(ctx, {op, {}, {}}, 0, [&](Ctx&, void*) {
            S == DType::f64 ? run_backward<double>(c.bug, a) : run_backward<float>(c.bug, a);
        });
    }
    static void step(Ctx& ctx, const Case& c, TensorBag& a) {
        const bool f64 = check(c, a) == DType::f64;
        run_op(ctx, {op, {}, {}}, 0, [&](Ctx&, void*) { run_step(c.bug, a, f64); });
    }
};

OpCase decay(Bug bug) {
    return op_case<Decay>({kTest, 2, 9, 3, true, bug});
}

bool caught(CheckReport (*check)(const OpCase&), Bug bug) {
    return !check(decay(bug)).passed();
}

TEST(OpCheck, a_right_op_passes_every_check) {
    const OpCase c = decay(Bug::none);
    for (auto check : {check_values, check_f64, check_gradients, check_threads, check_nan, check_errors,
                       check_cuts, check_packed, check_steps, check_huge_strides}) {
        const CheckReport report = check(c);
        EXPECT_TRUE(report.passed()) << (report.failures.empty() ? "nothing compared" : report.failures[0]);
    }
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

}  // namespace
}  // namespace adder
