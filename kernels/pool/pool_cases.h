// The cases of pool.h.
#pragma once
#include <span>

#include "kernels/common/op_case.h"
#include "kernels/pool/pool.h"
#include "kernels/pool/pool_ref.h"

namespace adder {

struct PoolProblem {
    static constexpr const char* op = "pool";
    static constexpr bool sequence = true;

    struct Case {
        unsigned use;
        int64_t B, L, M;
        PoolKind kind;
        bool starts, state;
    };

    // Columns go in blocks of 64 and 128, a GPU's chunks are of 256 steps.
    static std::span<const Case> cases() {
        static constexpr PoolKind mean = PoolKind::mean, last = PoolKind::last, max = PoolKind::max;
        static constexpr Case all[] = {
            {kTest | kGrad | kSelftest | kSanitize, 1, 1, 5, mean, false, true},
            {kTest | kGrad | kHuge, 3, 2, 7, mean, true, true},
            {kTest | kGrad, 3, 11, 9, mean, true, true},
            {kTest | kGrad, 2, 13, 6, mean, false, false},
            {kTest | kGrad, 3, 11, 9, max, true, true},
            {kTest | kGrad, 1, 12, 8, max, false, false},
            {kTest | kGrad | kSanitize, 2, 9, 5, last, true, true},
            {kTest | kSanitize, 1, 1, 70, max, false, true},
            {kTest | kSelftest, 3, 67, 65, mean, true, true},
            {kTest | kSelftest, 3, 66, 33, max, true, true},
            {kTest | kSelftest, 1, 255, 20, last, false, true},
            {kTest, 1, 255, 130, mean, false, true},
            {kTest, 3, 256, 17, max, true, false},
            {kTest | kSanitize, 1, 257, 129, mean, true, true},
            {kTest, 2, 515, 12, max, true, true},
            {kTest, 3, 2051, 10, mean, true, true},
            {kTest, 1, 2051, 9, max, false, true},
            {kTest, 1, 20000, 3, mean, false, false},
            {kBench, 1, 8192, 256, mean, false, true},
            {kBench, 64, 1024, 128, max, true, false},
            {kBenchCuda, 1, 1 << 20, 256, mean, false, false},
            {kBenchCuda, 512, 2048, 256, mean, true, false},
            {kBenchCuda, 512, 2048, 256, max, true, false},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} L{} M{} {}{}{}", c.B, c.L, c.M, name_of(c.kind), c.starts ? " packed" : "", c.state ? " state" : "");
    }
    static Case part(Case c, int64_t B, int64_t L, bool state) {
        c.B = B;
        c.L = L;
        c.state = state;
        return c;
    }

    // Around the values of the state, so that maxima come from both; lengths are positive.
    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("y", {c.B, c.L, c.M}).normal(2, 1)};
        if (c.starts) all.push_back(ArraySpec::start_flags("start", c.B, c.L));
        if (c.state)
            all.push_back(ArraySpec::state("state", {c.B, c.M + 1}).uniform(1, 4).gradient_in("d_state_out"));
        // Nothing of the member's past reaches a later step.
        if (c.state && c.kind == PoolKind::last) all.back().zero = true;
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        return {ArraySpec::activation("z", {c.B, c.L, c.M}).accum(),
                ArraySpec::state("state_out", {c.B, c.M + 1}).continuing("state")};
    }

    template <class S>
    static ref::Pool<S> ref_args(const Case& c, const Bag<S>& a) {
        return {a.template in<3>("y"), a.flags("start"), a.template in<2>("state"), c.kind};
    }
    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        ref::pool_forward<S>(ref_args(c, a), a.template out<3>("z"), a.template out<2>("state_out"));
    }
    template <class S>
    static void ref_backward(const Case& c, Bag<S>& a) {
        ref::pool_backward<S>(ref_args(c, a), a.template in<3>("z"), a.template in<3>("d_z"),
                              a.template out<3>("d_y"), a.template out<2>("d_state_out"));
    }
    static PoolArgs args(const Case& c, const TensorBag& a) { return {a["y"], a["start"], a["state"], c.kind}; }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        pool_forward(ctx, args(c, a), a["z"], a["state_out"]);
    }
    static void backward(Ctx& ctx, const Case& c, TensorBag& a) {
        pool_backward(ctx, args(c, a), a["z"], {a["d_z"], a["d_y"], a["d_state_out"]});
    }
};

}  // namespace adder
