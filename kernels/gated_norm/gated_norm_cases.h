// The cases of gated_norm.h.
#pragma once
#include <span>

#include "kernels/common/op_case.h"
#include "kernels/gated_norm/gated_norm.h"
#include "kernels/gated_norm/gated_norm_ref.h"

namespace adder {

struct GatedNormProblem {
    static constexpr const char* op = "gated_norm";
    static constexpr bool sequence = true;

    struct Case {
        unsigned use;
        int64_t B, L, D, G;
    };
    static constexpr float kEps = 1e-5f;

    // Rows are cut in blocks of 64; lengths go round that. On a GPU a group is a warp's or, above 256 (f32) and 512
    // (bf16), a block's, and blocks walk several rows of a warp from 8,448 rows and groups on.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kGrad, 1, 1, 5, 1},
            {kTest | kGrad | kHuge, 3, 2, 34, 2},
            {kTest | kGrad, 1, 7, 16, 4},
            {kTest | kSelftest | kSanitize, 1, 63, 32, 1},
            {kTest, 3, 64, 100, 4},
            {kTest, 1, 65, 48, 3},
            {kTest | kSelftest, 3, 131, 37, 1},
            {kTest, 1, 3000, 18, 2},
            {kTest, 1, 40000, 16, 2},
            {kTest, 3, 11, 1040, 2},
            {kTest | kSanitize, 1, 5, 2056, 1},
            {kBench, 1, 8192, 256, 1},
            {kBench, 1, 4096, 1024, 1},
            {kBench, 1, 4096, 1024, 8},
            {kBenchCuda, 1, 1 << 20, 512, 1},
            {kBenchCuda, 16, 2048, 1536, 1},
            {kBenchCuda, 1, 1, 512, 1},
            {kBenchCuda, 64, 1, 512, 1},
        };
        return all;
    }
    static std::string name(const Case& c) { return fmt::format("B{} L{} D{} G{}", c.B, c.L, c.D, c.G); }
    static Case part(Case c, int64_t B, int64_t L, bool) {
        c.B = B;
        c.L = L;
        return c;
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        return {ArraySpec::activation("x", {c.B, c.L, c.D}),
                ArraySpec::activation("z", {c.B, c.L, c.D}).normal(0, 2),
                ArraySpec::parameter("weight", {c.D}).normal(1, 0.3)};
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        return {ArraySpec::activation("y", {c.B, c.L, c.D})};
    }

    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        ref::gated_norm_forward<S>(a.template in<3>("x"), a.template in<3>("z"), a.template in<1>("weight"),
                                   c.G, kEps, a.template out<3>("y"));
    }
    template <class S>
    static void ref_backward(const Case& c, Bag<S>& a) {
        ref::gated_norm_backward<S>(a.template in<3>("x"), a.template in<3>("z"), a.template in<1>("weight"),
                                    c.G, kEps, a.template in<3>("d_y"), a.template out<3>("d_x"),
                                    a.template out<3>("d_z"), a.template out<1>("d_weight"));
    }
    static GatedNormArgs args(const Case& c, const TensorBag& a) {
        return {a["x"], a["z"], a["weight"], c.G, kEps};
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        gated_norm_forward(ctx, args(c, a), a["y"]);
    }
    static void backward(Ctx& ctx, const Case& c, TensorBag& a) {
        gated_norm_backward(ctx, args(c, a), a["d_y"], a["d_x"], a["d_z"], a["d_weight"]);
    }
};

}  // namespace adder
