// The cases of conv1d.h.
#pragma once
#include <span>

#include "kernels/common/op_case.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/conv1d/conv1d_ref.h"

namespace adder {

struct Conv1dProblem {
    static constexpr const char* op = "conv1d";
    static constexpr bool sequence = true;

    struct Case {
        unsigned use;
        int64_t B, L, D, K;
        bool bias, silu, starts, halo;
    };

    // Weight gradients are cut at 1,024 steps and within those worked on in blocks of 32, channels in blocks
    // of 128, rows four at a time: lengths and widths go round those, and below K-1.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kGrad | kSelftest, 1, 1, 5, 4, true, true, false, true},
            {kTest | kGrad | kHuge, 3, 2, 7, 4, true, true, false, true},
            {kTest | kGrad, 3, 3, 17, 8, true, true, true, true},
            {kTest | kGrad, 1, 1, 3, 8, false, true, false, true},
            {kTest | kGrad, 3, 9, 12, 4, true, true, true, true},
            {kTest | kGrad, 1, 12, 9, 3, false, false, false, false},
            {kTest | kGrad, 2, 11, 6, 2, true, true, true, false},
            {kTest | kSanitize, 1, 31, 40, 4, true, true, false, true},
            {kTest | kSelftest, 3, 32, 33, 5, true, true, true, true},
            {kTest, 1, 33, 130, 4, false, true, false, false},
            {kTest | kSelftest, 3, 67, 37, 4, true, true, true, true},
            {kTest, 1, 260, 65, 6, true, false, true, true},
            {kTest, 1, 1023, 18, 4, true, true, false, false},
            {kTest | kSanitize, 1, 1024, 20, 3, true, true, true, true},
            {kTest, 1, 1025, 19, 4, true, true, false, true},
            {kTest, 3, 2051, 9, 7, true, true, true, true},
            {kBench, 1, 8192, 256, 4, true, true, false, true},
            {kBench, 4, 1024, 1024, 4, true, true, true, true},
            {kBenchCuda, 1, 1 << 20, 512, 4, true, true, false, false},
            {kBenchCuda, 8, 4096, 2048, 4, true, true, false, false},
            {kBenchCuda, 1, 1, 512, 4, true, true, false, true},
            {kBenchCuda, 64, 1, 512, 4, true, true, false, true},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} L{} D{} K{}{}{}{}{}", c.B, c.L, c.D, c.K, c.bias ? " bias" : "",
                           c.silu ? " silu" : "", c.starts ? " packed" : "", c.halo ? " halo" : "");
    }
    static Case part(Case c, int64_t B, int64_t L, bool state) {
        c.B = B;
        c.L = L;
        c.halo = state;
        return c;
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("x", {c.B, c.L, c.D}),
                                      ArraySpec::parameter("weight", {c.D, c.K})};
        if (c.bias) all.push_back(ArraySpec::parameter("bias", {c.D}));
        if (c.starts) all.push_back(ArraySpec::start_flags("start", c.B, c.L));
        if (c.halo) all.push_back(ArraySpec::state("halo", {c.B, c.K - 1, c.D}).gradient_in("d_halo_out"));
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        return {ArraySpec::activation("y", {c.B, c.L, c.D}),
                ArraySpec::state("halo_out", {c.B, c.K - 1, c.D}).continuing("halo")};
    }

    template <class S>
    static ref::Conv1d<S> ref_args(const Case& c, const Bag<S>& a) {
        return {a.template in<3>("x"), a.template in<2>("weight"), a.template in<1>("bias"),
                a.flags("start"),      a.template in<3>("halo"),   c.silu};
    }
    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        ref::conv1d_forward<S>(ref_args(c, a), a.template out<3>("y"), a.template out<3>("halo_out"));
    }
    template <class S>
    static void ref_backward(const Case& c, Bag<S>& a) {
        ref::conv1d_backward<S>(ref_args(c, a), a.template in<3>("d_y"), a.template out<3>("d_x"),
                                a.template out<2>("d_weight"), a.template out<1>("d_bias"),
                                a.template out<3>("d_halo_out"));
    }
    static Conv1dArgs args(const Case& c, const TensorBag& a) {
        return {a["x"], a["weight"], a["bias"], a["start"], a["halo"], c.silu};
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        conv1d_forward(ctx, args(c, a), a["y"], a["halo_out"]);
    }
    static void backward(Ctx& ctx, const Case& c, TensorBag& a) {
        conv1d_backward(ctx, args(c, a), {a["d_y"], a["d_x"], a["d_weight"], a["d_bias"], a["d_halo_out"]});
    }
    static void step(Ctx& ctx, const Case& c, TensorBag& a) {
        conv1d_step(ctx, args(c, a), a["halo_out"], a["y"]);
    }
};

}  // namespace adder
