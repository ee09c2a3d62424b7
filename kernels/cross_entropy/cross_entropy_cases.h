// The cases of cross_entropy.h. The gradient of the logits is that of the loss sum: the cotangent of the sums
// is (1, 0).
#pragma once
#include <span>

#include "kernels/common/op_case.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/cross_entropy/cross_entropy_ref.h"

namespace adder {

struct CrossEntropyProblem {
    static constexpr const char* op = "cross_entropy";
    static constexpr bool sequence = false;

    struct Case {
        unsigned use;
        int64_t B, L, V;
        bool weighted = true;
        int64_t ignore = -1, t0 = 0;
        bool narrow = false;  // d_logits is of the storage type
    };

    // Sums are cut in blocks of 64 and 1,024; lengths go round both.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kGrad, 1, 1, 5},
            {kTest | kGrad | kHuge, 3, 2, 33, false},
            {kTest | kGrad, 1, 7, 16, true, 3},
            {kTest | kGrad, 1, 40, 4, true, 2, 1000},
            {kTest | kSelftest, 1, 63, 16},
            {kTest, 3, 64, 17, true, -1, 30},
            {kTest, 1, 65, 2, false, 1},
            {kTest | kSelftest, 3, 131, 31, true, 5},
            {kTest, 1, 1023, 8},
            {kTest, 1, 1024, 9, false},
            {kTest, 1, 1025, 16, true, -1, 5},
            {kTest, 3, 2051, 5},
            {kTest, 1, 70000, 4},
            {kTest, 1, 300, 257},
            {kTest, 1, 3, 1000},
            {kTest | kSanitize, 1, 2, 65536, true, 7},
            {kTest | kSelftest | kSanitize, 3, 131, 16, true, 3, 0, true},
            {kTest | kSanitize, 1, 300, 300, true, -1, 0, true},
            {kBench, 1, 8192, 16},
            {kBench, 8, 1024, 256},
            {kBench, 1, 256, 65536},
            {kBenchCuda, 1, 1 << 20, 16, true, -1, 0, true},
            {kBenchCuda, 1, 65536, 256, true, -1, 0, true},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} L{} V{}{}{}{}{}", c.B, c.L, c.V, c.weighted ? " weighted" : "",
                           c.ignore < 0 ? "" : " ignoring", c.t0 ? " within" : "", c.narrow ? " narrow" : "");
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("logits", {c.B, c.L, c.V}).accum().normal(0, 2).open(2),
                                      ArraySpec::token_ids("targets", c.B, c.L, c.V)};
        if (c.narrow) all[0].gradient_precision = Precision::storage;
        if (c.weighted)
            all.push_back(
                ArraySpec::activation("weights", {c.B, c.L}).uniform(0.1, 2).of(DType::f32).fixed().never_nan());
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        return {ArraySpec::parameter("sums", {2}).of(DType::f64).unit(),
                ArraySpec::activation("nats", {c.B, c.L}).of(DType::f64).fixed()};
    }

    template <class S>
    static void reference(const Case& c, Bag<S>& a, View<S, 3> d_logits) {
        ref::cross_entropy<S>(a.template in<3>("logits"), a.tokens("targets"),
                              a.template raw<float, 2>("weights"), c.ignore, a.template out<1>("sums"),
                              a.template out<2>("nats"), d_logits);
    }
    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        reference<S>(c, a, {});
    }
    template <class S>
    static void ref_backward(const Case& c, Bag<S>& a) {
        reference<S>(c, a, a.template out<3>("d_logits"));
    }
    static CrossEntropyArgs args(const Case& c, const TensorBag& a) {
        return {a["logits"], a["targets"], a["weights"], c.ignore, c.t0};
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        cross_entropy(ctx, args(c, a), {a["sums"], a["nats"], {}});
    }
    static void backward(Ctx& ctx, const Case& c, TensorBag& a) {
        cross_entropy(ctx, args(c, a), {a["sums"], {}, a["d_logits"]});
    }
};

}  // namespace adder
