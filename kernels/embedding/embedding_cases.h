// The cases of embedding.h.
#pragma once
#include <span>

#include "kernels/common/op_case.h"
#include "kernels/embedding/embedding.h"
#include "kernels/embedding/embedding_ref.h"

namespace adder {

struct EmbeddingProblem {
    static constexpr const char* op = "embedding";
    static constexpr bool sequence = true;

    struct Case {
        unsigned use;
        int64_t B, L, V, M;
        bool wide = false;  // d_y is of type S: the gradient of the residual stream
    };

    // Gradients are cut at 1,024 steps where V is small beside L, columns in blocks of 128; sizes go round
    // those.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kGrad, 1, 1, 5, 3},
            {kTest | kGrad | kHuge, 3, 2, 7, 17},
            {kTest | kGrad, 3, 40, 5, 9},
            {kTest | kSelftest, 3, 127, 16, 33},
            {kTest, 1, 128, 12, 130},
            {kTest, 1, 129, 300, 40},
            {kTest | kSanitize, 3, 1023, 16, 20},
            {kTest, 1, 1024, 16, 128},
            {kTest | kSelftest, 3, 1025, 16, 37},
            {kTest, 1, 3000, 5, 6},
            {kTest, 1, 2051, 1200, 5},
            {kTest | kSanitize, 3, 1025, 16, 64, true},
            {kTest, 1, 130, 300, 37, true},
            {kTest, 2, 300, 70, 260},
            {kBench, 1, 8192, 16, 128},
            {kBench, 8, 1024, 16, 512},
            {kBenchCuda, 1, 1 << 20, 16, 256},
            {kBenchCuda, 16, 2048, 256, 768},
            {kBenchCuda, 64, 1, 16, 256},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} L{} V{} M{}{}", c.B, c.L, c.V, c.M, c.wide ? " wide" : "");
    }
    static Case part(Case c, int64_t B, int64_t L, bool) {
        c.B = B;
        c.L = L;
        return c;
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        return {ArraySpec::token_ids("ids", c.B, c.L, c.V),
                ArraySpec::parameter("weight", {c.V, c.M}).storage().open(0)};
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        ArraySpec y = ArraySpec::activation("y", {c.B, c.L, c.M});
        if (c.wide) y.gradient_precision = Precision::accum;
        return {y};
    }

    template <class S>
    static void ref_forward(const Case&, Bag<S>& a) {
        ref::embedding_forward<S>(a.tokens("ids"), a.template in<2>("weight"), a.template out<3>("y"));
    }
    template <class S>
    static void ref_backward(const Case&, Bag<S>& a) {
        ref::embedding_backward<S>(a.tokens("ids"), a.template in<3>("d_y"), a.template out<2>("d_weight"));
    }
    static void forward(Ctx& ctx, const Case&, TensorBag& a) {
        embedding_forward(ctx, a["ids"], a["weight"], a["y"]);
    }
    static void backward(Ctx& ctx, const Case&, TensorBag& a) {
        embedding_backward(ctx, a["ids"], a["d_y"], a.t0, a["d_weight"]);
    }
};

}  // namespace adder
