// The cases of scan_step_low_rank. Sizes go round what the fused kernel takes (16 states, R up to 64 a
// multiple of 4) and round its blocks of 4 and 8 rows and 32 channels.
#pragma once
#include <span>

#include "kernels/gemm/gemm_ref.h"
#include "kernels/scan/scan_cases.h"

namespace adder {

struct LowRankStepProblem {
    static constexpr const char* op = "scan_step_low_rank";
    static constexpr bool sequence = false;

    struct Case {
        unsigned use;
        int64_t B, D, N, R;
        bool gate, zoh;
        int64_t L = 1;
    };

    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kSelftest | kSanitize, 1, 32, 16, 16, true, false},
            {kTest | kSanitize, 5, 37, 16, 4, true, true},
            {kTest, 4, 70, 16, 64, false, false},
            {kTest, 3, 33, 16, 48, true, false},
            {kTest | kSanitize, 66, 1700, 16, 8, true, false},
            {kTest, 21, 2200, 16, 12, true, true},
            {kTest, 3, 9, 16, 3, true, false},
            {kTest | kSanitize, 2, 20, 8, 8, true, true},
            {kBenchCuda, 1, 512, 16, 16, true, false},
            {kBenchCuda, 64, 512, 16, 16, true, false},
            {kBenchCuda, 128, 1536, 16, 48, true, false},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} D{} N{} R{}{}{}", c.B, c.D, c.N, c.R, c.gate ? " gate" : "",
                           c.zoh ? " zoh" : "");
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("u", {c.B, 1, c.D}),
                                      ArraySpec::activation("x", {c.B, 1, c.R}),
                                      ArraySpec::parameter("weight", {c.D, c.R})
                                          .storage()
                                          .normal(0, 1 / std::sqrt(static_cast<double>(c.R))),
                                      ArraySpec::parameter("A_log", {c.D, c.N}).uniform(0, 3),
                                      ArraySpec::activation("B", {c.B, 1, c.N}),
                                      ArraySpec::activation("C", {c.B, 1, c.N}),
                                      ArraySpec::parameter("D", {c.D}),
                                      ArraySpec::parameter("dt_bias", {c.D}).uniform(-7, 1),
                                      ArraySpec::state("h0", {c.B, c.D, c.N})};
        if (c.gate) all.push_back(ArraySpec::activation("z", {c.B, 1, c.D}));
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        return {ArraySpec::activation("y", {c.B, 1, c.D}), ArraySpec::state("hT", {c.B, c.D, c.N})};
    }

    static Discretization discretization(const Case& c) {
        return c.zoh ? Discretization::zoh : Discretization::euler;
    }
    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        std::vector<S> dt_raw(static_cast<size_t>(c.B * c.D)),
            memory(static_cast<size_t>(ref::scan_forward_values(c.N)));
        View<S, 3> dt;
        dt.data = dt_raw.data();
        dt.shape[0] = c.B, dt.shape[1] = 1, dt.shape[2] = c.D;
        dt.stride[0] = c.D, dt.stride[1] = c.D, dt.stride[2] = 1;
        ref::linear_forward<S>(a.template in<3>("x"), a.template in<2>("weight"), {}, dt);
        ref::Scan<S> scan{a.template in<3>("u"),
                          {},
                          a.template in<2>("A_log"),
                          a.template in<3>("B"),
                          a.template in<3>("C"),
                          a.template in<1>("D"),
                          a.template in<1>("dt_bias"),
                          a.template in<3>("z"),
                          {},
                          a.template in<3>("h0"),
                          discretization(c)};
        scan.dt_raw.data = dt.data;
        for (int r = 0; r < 3; ++r) scan.dt_raw.shape[r] = dt.shape[r], scan.dt_raw.stride[r] = dt.stride[r];
        ref::scan_forward<S>(scan, a.template out<3>("y"), a.template out<3>("hT"), {}, memory.data());
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        ScanArgs args{a["u"],       {},     a["A_log"], a["B"],  a["C"],           a["D"],
                      a["dt_bias"], a["z"], {},         a["h0"], discretization(c)};
        scan_step_low_rank(ctx, args, {a["x"], a["weight"]}, a["hT"], a["y"]);
    }
};

}  // namespace adder
