// The cases of shift.h.
#pragma once
#include <span>

#include "kernels/common/op_case.h"
#include "kernels/shift/shift.h"
#include "kernels/shift/shift_ref.h"

namespace adder {

struct ShiftProblem {
    static constexpr const char* op = "shift";
    static constexpr bool sequence = true;

    struct Case {
        unsigned use;
        int64_t B, L, M;
        bool starts, before;
    };

    // Rows are cut in blocks of 64; lengths go round that, widths round packs of eight.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kGrad | kSelftest, 1, 1, 5, false, true},
            {kTest | kGrad | kHuge, 3, 2, 7, false, true},
            {kTest | kGrad, 3, 9, 12, true, true},
            {kTest | kGrad | kSanitize, 2, 11, 8, true, false},
            {kTest | kSelftest, 1, 63, 32, true, true},
            {kTest, 3, 64, 40, false, true},
            {kTest | kSanitize, 1, 65, 33, true, true},
            {kTest, 3, 131, 36, true, true},
            {kTest, 1, 3000, 17, false, false},
            {kBench, 1, 8192, 128, true, true},
            {kBenchCuda, 1, 1 << 18, 256, true, true},
            {kBenchCuda, 64, 1, 256, false, true},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} L{} M{}{}{}", c.B, c.L, c.M, c.starts ? " packed" : "", c.before ? " before" : "");
    }
    static Case part(Case c, int64_t B, int64_t L, bool state) {
        c.B = B;
        c.L = L;
        c.before = state;
        return c;
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("x", {c.B, c.L, c.M})};
        if (c.starts) all.push_back(ArraySpec::start_flags("start", c.B, c.L));
        if (c.before) all.push_back(ArraySpec::state("before", {c.B, 1, c.M}).gradient_in("d_after"));
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        return {ArraySpec::activation("y", {c.B, c.L, c.M}),
                ArraySpec::state("after", {c.B, 1, c.M}).continuing("before")};
    }

    template <class S>
    static void ref_forward(const Case&, Bag<S>& a) {
        ref::shift_forward<S>(a.template in<3>("x"), a.flags("start"), a.template in<3>("before"), a.template out<3>("y"),
                              a.template out<3>("after"));
    }
    template <class S>
    static void ref_backward(const Case&, Bag<S>& a) {
        ref::shift_backward<S>(a.flags("start"), a.template in<3>("d_y"), a.template out<3>("d_x"),
                               a.template out<3>("d_after"));
    }
    static void forward(Ctx& ctx, const Case&, TensorBag& a) {
        shift_forward(ctx, {a["x"], a["start"], a["before"]}, a["y"], a["after"]);
    }
    static void backward(Ctx& ctx, const Case&, TensorBag& a) {
        shift_backward(ctx, a["start"], a["d_y"], a["d_x"], a["d_after"]);
    }
    static void step(Ctx& ctx, const Case&, TensorBag& a) {
        shift_forward(ctx, {a["x"], a["start"], a["after"]}, a["y"], a["after"]);
    }
};

}  // namespace adder
