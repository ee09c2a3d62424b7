// The cases of projection_step.h. Sizes go round what the fused kernels take (four taps, multiples of eight)
// and round their tiles of 16 or 32 rows and 8 to 96 outputs.
#pragma once
#include <span>

#include "kernels/common/op_case.h"
#include "kernels/conv1d/conv1d_ref.h"
#include "kernels/gated_norm/gated_norm_ref.h"
#include "kernels/gemm/gemm_ref.h"
#include "kernels/norm/norm_ref.h"
#include "kernels/projection_step/projection_step.h"

namespace adder {

// (B,1,n) numbers between two parts of a reference.
template <class S>
class StepRows {
  public:
    StepRows(int64_t B, int64_t n) : B_(B), n_(n), values_(static_cast<size_t>(B * n)) {}
    View<S, 3> out() { return view<S>(); }
    View<const S, 3> in() { return view<const S>(); }

  private:
    template <class E>
    View<E, 3> view() {
        View<E, 3> v;
        v.data = values_.data();
        v.shape[0] = B_, v.shape[1] = 1, v.shape[2] = n_;
        v.stride[0] = n_, v.stride[1] = n_, v.stride[2] = 1;
        return v;
    }
    int64_t B_, n_;
    std::vector<S> values_;
};

inline constexpr float kProjectionEps = 1e-5f;

// A stream whose residual is the array "residual_out".
inline StepStream case_stream(Ctx& ctx, DType storage, int64_t B, int64_t M, const TensorBag& a) {
    StepStream stream = alloc_step_stream(ctx, storage, B, M);
    stream.residual = a["residual_out"];
    stream.weight = a["norm_weight"];
    stream.eps = kProjectionEps;
    return stream;
}

// The reference of in_proj_step behind its norm.
template <class S>
void ref_in_proj(View<const S, 3> rows, int64_t first, int64_t C, Bag<S>& a) {
    StepRows<S> columns(rows.shape[0], C), convolved(rows.shape[0], C);
    const View<S, 3> y = a.template out<3>("y");
    ref::linear_forward<S>(rows, a.template in<2>("weight"), {}, y);
    for (int64_t b = 0; b < y.shape[0]; ++b)
        for (int64_t d = 0; d < C; ++d) columns.out()(b, 0, d) = y(b, 0, first + d);
    const ref::Conv1d<S> conv{columns.in(), a.template in<2>("conv_weight"), a.template in<1>("conv_bias"),
                              {},           a.template in<3>("halo"),        true};
    ref::conv1d_forward<S>(conv, convolved.out(), a.template out<3>("halo_out"));
    for (int64_t b = 0; b < y.shape[0]; ++b)
        for (int64_t d = 0; d < C; ++d) y(b, 0, first + d) = convolved.in()(b, 0, d);
}

struct InProjStepProblem {
    static constexpr const char* op = "in_proj_step";
    static constexpr bool sequence = false;

    enum Flags : unsigned { kNorm = 1, kResidual = 2, kBias = 4 };
    struct Case {
        unsigned use;
        int64_t B, M, O, first, C, K;
        unsigned flags;
        int64_t L = 1;
        bool has(Flags f) const { return (flags & f) != 0; }
    };

    static std::span<const Case> cases() {
        constexpr unsigned kAll = kNorm | kResidual | kBias;
        static constexpr Case all[] = {
            {kTest | kSelftest, 1, 16, 24, 0, 12, 4, kAll},
            {kTest, 3, 40, 22, 6, 9, 4, kAll},
            {kTest | kSanitize, 16, 264, 17, 16, 1, 4, kNorm | kBias},
            {kTest | kSanitize, 17, 72, 33, 1, 30, 4, kAll},
            {kTest | kSelftest | kSanitize, 3, 32, 16, 0, 16, 4, 0},
            {kTest, 2, 13, 10, 2, 5, 4, kAll},
            {kTest | kSanitize, 3, 24, 11, 3, 8, 3, kNorm | kResidual},
            {kTest | kSanitize, 65, 16, 1070, 8, 1040, 4, kAll},
            {kTest, 67, 48, 2150, 5, 2100, 4, kBias},
            {kTest, 33, 40, 3201, 1, 3000, 4, kBias},
            {kTest | kSanitize, 66, 24, 2100, 5, 8, 4, kNorm},
            {kTest | kSanitize, 35, 40, 1500, 3, 700, 4, kAll},
            {kTest | kSanitize, 65, 24, 700, 4, 600, 4, kAll},
            {kTest, 33, 808, 2120, 8, 40, 4, kAll},
            {kBenchCuda, 1, 256, 1024, 0, 512, 4, kAll},
            {kBenchCuda, 64, 256, 1024, 0, 512, 4, kAll},
            {kBenchCuda, 1, 256, 1288, 512, 768, 4, kAll},
            {kBenchCuda, 64, 256, 1288, 512, 768, 4, kAll},
            {kBenchCuda, 1, 768, 3072, 0, 1536, 4, kAll},
            {kBenchCuda, 128, 768, 3072, 0, 1536, 4, kAll},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} M{} O{} [{}, {}) K{}{}{}{}", c.B, c.M, c.O, c.first, c.first + c.C, c.K,
                           c.has(kNorm) ? " norm" : "", c.has(kResidual) ? " residual" : "",
                           c.has(kBias) ? " bias" : "");
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("x", {c.B, 1, c.M})};
        if (c.has(kResidual)) all.push_back(ArraySpec::activation("residual", {c.B, 1, c.M}).accum());
        if (c.has(kNorm)) all.push_back(ArraySpec::parameter("norm_weight", {c.M}).normal(1, 0.3));
        const double scale = 0.5 / std::sqrt(static_cast<double>(c.M));
        all.push_back(ArraySpec::parameter("weight", {c.O, c.M}).storage().normal(0, scale));
        // Neither the place nor the number of the convolved columns follows from the other arguments.
        all.push_back(ArraySpec::parameter("conv_weight", {c.C, c.K}));
        if (c.has(kBias)) all.push_back(ArraySpec::parameter("conv_bias", {c.C}));
        all.push_back(ArraySpec::state("halo", {c.B, c.K - 1, c.C}));
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("y", {c.B, 1, c.O}),
                                      ArraySpec::state("halo_out", {c.B, c.K - 1, c.C})};
        if (c.has(kNorm)) all.push_back(ArraySpec::activation("residual_out", {c.B, 1, c.M}).accum().dense());
        return all;
    }

    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        StepRows<S> normed(c.B, c.M);
        View<const S, 3> x = a.template in<3>("x");
        if (c.has(kNorm)) {
            ref::add_norm_forward<S>(x, a.template in<3>("residual"), a.template in<1>("norm_weight"),
                                     kProjectionEps, a.template out<3>("residual_out"), normed.out());
            x = normed.in();
        }
        ref_in_proj<S>(x, c.first, c.C, a);
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        ArenaScope scope(*ctx.scratch);
        StepStream stream;
        stream.rows = a["x"];
        if (c.has(kNorm)) {
            stream = case_stream(ctx, a["x"].dtype, c.B, c.M, a);
            add_to_stream(ctx, a["x"], a["residual"], stream);
        }
        in_proj_step(
            ctx, {stream, a["weight"], a["conv_weight"], a["conv_bias"], a["halo"], c.first, c.B % 2 == 1},
            {a["halo_out"], a["y"]});
    }
};

// Alone, or with the in_proj_step behind it, which shows all of what it leaves in a stream.
struct OutProjStepProblem {
    static constexpr const char* op = "out_proj_step";
    static constexpr bool sequence = false;

    enum Flags : unsigned { kGate = 1, kStream = 2 };
    struct Case {
        unsigned use;
        int64_t B, D, M;
        unsigned flags;
        int64_t O = 0;  // outputs of the in_proj_step, the last half of them convolved; 0 = there is none
        int64_t G = 1, L = 1;
        bool has(Flags f) const { return (flags & f) != 0; }
    };

    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kSelftest, 1, 16, 24, kGate},
            {kTest, 3, 40, 9, kGate},
            {kTest | kSanitize, 16, 264, 17, kGate},
            {kTest | kSelftest | kSanitize, 17, 72, 33, kGate},
            {kTest | kSanitize, 65, 24, 2100, kGate},
            {kTest | kSanitize, 2, 13, 10, kGate},
            {kTest, 3, 24, 11, kGate, 0, 2},
            {kTest, 4225, 16, 8, kGate},
            {kTest, 2, 24, 16, 0},
            {kTest | kSelftest, 1, 72, 200, kStream, 48},
            {kTest | kSanitize, 3, 77, 72, kStream, 34},
            {kTest | kSanitize, 16, 40, 264, kStream, 18},
            {kTest, 2, 72, 132, kStream, 34},
            {kTest | kSelftest, 17, 24, 40, kStream, 700},
            {kTest | kSanitize, 17, 24, 800, kStream, 24},
            {kTest | kSanitize, 17, 24, 1160, kStream, 24},
            {kTest | kSanitize, 66, 40, 200, kStream, 40},
            {kTest, 33, 8, 1304, kStream, 2120},
            {kTest | kSanitize, 130, 72, 2104, kStream, 16},
            {kTest, 1, 72, 264, kGate | kStream, 48},
            {kTest | kSanitize, 3, 40, 2056, kGate | kStream, 24},
            {kTest, 65, 24, 2104, kGate | kStream, 16},
            {kTest, 5, 72, 156, kGate | kStream, 50},
            {kTest | kSanitize, 17, 72, 72, kGate | kStream, 30, 2},
            {kBenchCuda, 1, 512, 256, kGate},
            {kBenchCuda, 64, 512, 256, kGate},
            {kBenchCuda, 1, 512, 256, kGate | kStream},
            {kBenchCuda, 64, 512, 256, kGate | kStream},
            {kBenchCuda, 1, 1536, 768, kStream},
            {kBenchCuda, 128, 1536, 768, kStream},
            {kBenchCuda, 1, 1536, 768, kStream, 3072},
            {kBenchCuda, 128, 1536, 768, kStream, 3072},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} D{} M{}{}{}{}", c.B, c.D, c.M, c.has(kGate) ? fmt::format(" G{}", c.G) : "",
                           c.has(kStream) ? " stream" : "", c.O > 0 ? fmt::format(" O{}", c.O) : "");
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("x", {c.B, 1, c.D})};
        if (c.has(kGate)) {
            all.push_back(ArraySpec::activation("z", {c.B, 1, c.D}));
            all.push_back(ArraySpec::parameter("gated_weight", {c.D}).normal(1, 0.3));
        }
        // Into a stream the result is the smaller part, so that what is rounded on the way does not add up.
        const double out_scale = c.has(kStream) ? 0.5 / std::sqrt(static_cast<double>(c.D)) : 1;
        all.push_back(ArraySpec::parameter("out_weight", {c.M, c.D}).storage().normal(0, out_scale));
        if (!c.has(kStream)) return all;
        all.push_back(ArraySpec::activation("residual", {c.B, 1, c.M}).accum());
        all.push_back(ArraySpec::parameter("norm_weight", {c.M}).normal(1, 0.3));
        if (c.O == 0) return all;
        const double scale = 0.5 / std::sqrt(static_cast<double>(c.M));
        all.push_back(ArraySpec::parameter("weight", {c.O, c.M}).storage().normal(0, scale));
        all.push_back(ArraySpec::parameter("conv_weight", {c.O / 2, kTaps}));
        all.push_back(ArraySpec::state("halo", {c.B, kTaps - 1, c.O / 2}));
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        if (!c.has(kStream)) return {ArraySpec::activation("y_out", {c.B, 1, c.M})};
        std::vector<ArraySpec> all = {
            ArraySpec::activation("residual_out", {c.B, 1, c.M}).accum().dense().starting_as("residual")};
        if (c.O == 0) return all;
        all.push_back(ArraySpec::activation("y", {c.B, 1, c.O}));
        all.push_back(ArraySpec::state("halo_out", {c.B, kTaps - 1, c.O / 2}));
        return all;
    }

    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        StepRows<S> gated(c.B, c.D), y(c.B, c.M), normed(c.B, c.M);
        View<const S, 3> x = a.template in<3>("x");
        if (c.has(kGate)) {
            ref::gated_norm_forward<S>(x, a.template in<3>("z"), a.template in<1>("gated_weight"), c.G,
                                       kProjectionEps, gated.out());
            x = gated.in();
        }
        const View<S, 3> to = c.has(kStream) ? y.out() : a.template out<3>("y_out");
        ref::linear_forward<S>(x, a.template in<2>("out_weight"), {}, to);
        if (!c.has(kStream)) return;
        ref::add_norm_forward<S>(y.in(), a.template in<3>("residual"), a.template in<1>("norm_weight"),
                                 kProjectionEps, a.template out<3>("residual_out"), normed.out());
        if (c.O > 0) ref_in_proj<S>(normed.in(), c.O - c.O / 2, c.O / 2, a);
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        ArenaScope scope(*ctx.scratch);
        StepEnd to{a["y_out"], {}};
        if (c.has(kStream)) {
            to.stream = case_stream(ctx, a["x"].dtype, c.B, c.M, a);
            // No argument of the op, which finds these numbers in the stream.
            expect(op, "residual", a["residual"], a["residual_out"].dtype, a["residual_out"].shape);
        }
        const bool settled = c.B % 2 == 1;
        out_proj_step(
            ctx, {{a["x"], a["z"], a["gated_weight"], c.G, kProjectionEps}, a["out_weight"], settled}, to);
        if (c.O > 0)
            in_proj_step(ctx,
                         {to.stream, a["weight"], a["conv_weight"], {}, a["halo"], c.O - c.O / 2, settled},
                         {a["halo_out"], a["y"]});
    }

  private:
    static constexpr int64_t kTaps = 4;
};

}  // namespace adder
