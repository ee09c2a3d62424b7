// The cases of norm.h.
#pragma once
#include <span>

#include "kernels/common/op_case.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/norm_ref.h"

namespace adder {

struct NormProblem {
    static constexpr const char* op = "norm";
    static constexpr bool sequence = true;

    struct Case {
        unsigned use;
        int64_t B, L, M;
        bool residual;
    };
    static constexpr float kEps = 1e-5f;

    // Rows are cut in blocks of 64; lengths go round that. On a GPU a row is a warp's or, above 256, a block's, and
    // blocks walk several rows of a warp from 8,448 rows on.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kGrad, 1, 1, 5, false},
            {kTest | kGrad | kHuge, 3, 2, 33, true},
            {kTest | kGrad | kSanitize, 1, 7, 16, true},
            {kTest | kSelftest, 1, 63, 32, true},
            {kTest, 3, 64, 100, true},
            {kTest, 1, 65, 48, false},
            {kTest | kSelftest, 3, 131, 37, true},
            {kTest, 1, 3000, 17, true},
            {kTest, 1, 40000, 8, true},
            {kTest | kSanitize, 3, 11, 300, true},
            {kTest, 1, 5, 2056, false},
            {kBench, 1, 8192, 128, true},
            {kBench, 1, 4096, 768, true},
            {kBenchCuda, 1, 1 << 20, 256, true},
            {kBenchCuda, 16, 2048, 768, true},
            {kBenchCuda, 1, 1, 256, true},
            {kBenchCuda, 64, 1, 256, true},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} L{} M{}{}", c.B, c.L, c.M, c.residual ? "" : " first");
    }
    static Case part(Case c, int64_t B, int64_t L, bool) {
        c.B = B;
        c.L = L;
        return c;
    }

    // The gradients of x and residual are one array, which holds the gradient of residual_out before.
    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {
            ArraySpec::activation("x", {c.B, c.L, c.M}).gradient_in("d_residual_out")};
        if (c.residual)
            all.push_back(ArraySpec::activation("residual", {c.B, c.L, c.M}).accum().gradient_in("d_residual_out"));
        all.push_back(ArraySpec::parameter("weight", {c.M}).normal(1, 0.3));
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        return {ArraySpec::activation("residual_out", {c.B, c.L, c.M}).accum(),
                ArraySpec::activation("y", {c.B, c.L, c.M})};
    }

    template <class S>
    static void ref_forward(const Case&, Bag<S>& a) {
        ref::add_norm_forward<S>(a.template in<3>("x"), a.template in<3>("residual"),
                                 a.template in<1>("weight"), kEps, a.template out<3>("residual_out"),
                                 a.template out<3>("y"));
    }
    template <class S>
    static void ref_backward(const Case&, Bag<S>& a) {
        ref::add_norm_backward<S>(a.template in<3>("residual_out"), a.template in<1>("weight"), kEps,
                                  a.template in<3>("d_y"), a.template out<3>("d_residual_out"),
                                  a.template out<1>("d_weight"));
    }
    static AddNormArgs args(const TensorBag& a) { return {a["x"], a["residual"], a["weight"], kEps}; }
    static void forward(Ctx& ctx, const Case&, TensorBag& a) {
        add_norm_forward(ctx, args(a), a["residual_out"], a["y"]);
    }
    static void backward(Ctx& ctx, const Case&, TensorBag& a) {
        add_norm_backward(ctx, args(a), a["residual_out"], a["d_y"], a["d_residual_out"], a["d_weight"]);
    }
};

}  // namespace adder
