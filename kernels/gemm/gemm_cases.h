// The cases of gemm.h.
#pragma once
#include <span>

#include "kernels/common/op_case.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemm_ref.h"

namespace adder {

struct LinearProblem {
    static constexpr const char* op = "gemm";
    static constexpr bool sequence = true;

    struct Case {
        unsigned use;
        int64_t B, L, I, O;
        bool bias;
        bool wide = false;  // y is of type S: logits
    };

    // Rows are cut at 256, sums over time at 1,024, outputs at multiples of 16 near 256, on a GPU at the last
    // multiple of 128 over many rows; sizes go round those.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kGrad | kSanitize, 1, 1, 5, 3, true},
            {kTest | kGrad | kHuge, 3, 2, 17, 9, true},
            {kTest | kGrad, 1, 7, 33, 16, false},
            {kTest | kSelftest, 1, 255, 24, 40, false},
            {kTest, 3, 256, 8, 33, true},
            {kTest | kSanitize, 1, 257, 40, 12, true},
            {kTest | kSelftest, 3, 515, 37, 10, true},
            {kTest, 1, 3000, 19, 5, true},
            {kTest, 1, 1025, 20, 300, false},
            {kTest, 3, 2, 530, 390, false},
            {kTest, 3, 131, 64, 16, false, true},
            {kTest | kSanitize, 1, 300, 37, 5, true, true},
            {kTest, 1, 2049, 8, 516, true},
            {kBench, 1, 8192, 128, 512, false},
            {kBench, 1, 8192, 256, 128, false},
            {kBench, 1, 8192, 256, 40, false},
            {kBench, 1, 8192, 8, 256, false},
            {kBench, 1, 8192, 128, 16, false},
            {kBench, 4, 1024, 512, 2048, false},
            // The maps of models of width 256 and 768: in, x, dt, out; in of the other mixer; the head.
            {kBenchCuda, 1, 1 << 20, 256, 1024, false},
            {kBenchCuda, 1, 1 << 20, 512, 48, false},
            {kBenchCuda, 1, 1 << 20, 16, 512, false},
            {kBenchCuda, 1, 1 << 20, 512, 256, false},
            {kBenchCuda, 1, 1 << 20, 256, 1288, false},
            {kBenchCuda, 1, 1 << 20, 256, 16, false},
            {kBenchCuda, 16, 2048, 768, 3072, false},
            {kBenchCuda, 16, 2048, 768, 3352, false},
            {kBenchCuda, 16, 2048, 1536, 768, false},
            {kBenchCuda, 1, 1, 256, 1024, false},
            {kBenchCuda, 64, 1, 256, 1024, false},
            {kBenchCuda, 1, 1, 256, 16, false},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} L{} I{} O{}{}{}", c.B, c.L, c.I, c.O, c.bias ? " bias" : "", c.wide ? " wide" : "");
    }
    static Case part(Case c, int64_t B, int64_t L, bool) {
        c.B = B;
        c.L = L;
        return c;
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("x", {c.B, c.L, c.I}),
                                      ArraySpec::parameter("weight", {c.O, c.I}).storage()};
        if (c.bias) all.push_back(ArraySpec::parameter("bias", {c.O}));
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        ArraySpec y = ArraySpec::activation("y", {c.B, c.L, c.O});
        if (c.wide) y.precision = Precision::accum, y.gradient_precision = Precision::storage;
        return {y};
    }

    template <class S>
    static void ref_forward(const Case&, Bag<S>& a) {
        ref::linear_forward<S>(a.template in<3>("x"), a.template in<2>("weight"), a.template in<1>("bias"),
                               a.template out<3>("y"));
    }
    template <class S>
    static void ref_backward(const Case&, Bag<S>& a) {
        ref::linear_backward_input<S>(a.template in<2>("weight"), a.template in<3>("d_y"),
                                      a.template out<3>("d_x"), false);
        ref::linear_backward_weight<S>(a.template in<3>("x"), a.template in<3>("d_y"),
                                       a.template out<2>("d_weight"), a.template out<1>("d_bias"));
    }
    static LinearArgs args(const TensorBag& a) { return {a["x"], a["weight"], a["bias"], a.t0}; }
    static void forward(Ctx& ctx, const Case&, TensorBag& a) { linear_forward(ctx, args(a), a["y"]); }
    static void backward(Ctx& ctx, const Case&, TensorBag& a) {
        linear_backward_input(ctx, args(a), a["d_y"], a["d_x"], false);
        linear_backward_weight(ctx, args(a), a["d_y"], a["d_weight"], a["d_bias"]);
    }
    static void step(Ctx& ctx, const Case&, TensorBag& a) { linear_step(ctx, args(a), a["y"]); }
};

}  // namespace adder
