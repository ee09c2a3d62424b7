// The cases of scan.h.
#pragma once
#include <span>

#include "kernels/common/op_case.h"
#include "kernels/scan/scan.h"
#include "kernels/scan/scan_ref.h"

namespace adder {

struct ScanProblem {
    static constexpr const char* op = "scan";
    static constexpr bool sequence = true;

    enum Flags : unsigned { kGate = 1, kStart = 2, kState = 4, kZoh = 8 };
    struct Case {
        unsigned use;
        int64_t B, L, D, N;
        unsigned flags;
        bool has(Flags f) const { return (flags & f) != 0; }
    };

    // Lengths go round the chunk of 64; D round a vector (16) and a group of channels (64); N round blocks of
    // 4 and 8.
    static std::span<const Case> cases() {
        static constexpr Case all[] = {
            {kTest | kGrad, 1, 1, 3, 1, 0},
            {kTest | kGrad, 1, 2, 5, 4, kGate | kState},
            {kTest | kGrad | kHuge, 3, 2, 17, 4, kGate | kStart | kState},
            {kTest | kGrad, 3, 7, 5, 13, kGate | kStart | kState},
            {kTest | kGrad | kSanitize, 1, 9, 4, 4, kGate | kStart | kState | kZoh},
            {kTest, 1, 63, 33, 16, kGate | kState},
            {kTest, 3, 64, 20, 16, kGate | kStart | kState | kZoh},
            {kTest | kSelftest, 3, 65, 40, 5, kGate | kStart | kState},
            {kTest, 1, 66, 9, 128, kState},
            {kTest | kSanitize, 1, 66, 6, 256, kGate | kState | kZoh},
            {kTest | kSelftest, 1, 131, 70, 33, kGate | kStart},
            {kTest | kSanitize, 3, 131, 37, 1, kGate | kStart | kState},
            {kTest, 1, 130, 260, 4, kState},
            {kTest, 1, 700, 18, 16, kGate | kStart | kState},
            {kBench, 1, 4096, 256, 16, kGate},
            {kBench, 1, 4096, 256, 64, kGate},
            {kBench, 1, 1024, 1536, 16, kGate},
            {kBench, 1, 4096, 256, 16, kGate | kZoh},
            {kBenchCuda, 1, 4096, 1024, 16, kGate},
            {kBenchCuda, 1, 65536, 1024, 16, kGate},
            {kBenchCuda, 1, 1 << 20, 1024, 16, kGate},
            {kBenchCuda, 8, 4096, 2048, 16, kGate},
            {kBenchCuda, 8, 8192, 512, 16, kGate},
            {kBenchCuda, 1, 131072, 512, 16, kGate},
            {kBenchCuda, 1, 1 << 20, 512, 16, kGate},
            {kBenchCuda, 1, 1, 512, 16, kGate | kState},
            {kBenchCuda, 64, 1, 512, 16, kGate | kState},
        };
        return all;
    }
    static std::string name(const Case& c) {
        return fmt::format("B{} L{} D{} N{}{}{}{}{}", c.B, c.L, c.D, c.N, c.has(kGate) ? " gate" : "",
                           c.has(kStart) ? " packed" : "", c.has(kState) ? " state" : "",
                           c.has(kZoh) ? " zoh" : "");
    }
    static Case part(Case c, int64_t B, int64_t L, bool state) {
        c.B = B;
        c.L = L;
        c.flags = state ? c.flags | kState : c.flags & ~static_cast<unsigned>(kState);
        return c;
    }

    // dt from 1e-4 to 3, as trained models have; A from -1 to -20.
    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("u", {c.B, c.L, c.D}),
                                      ArraySpec::activation("dt_raw", {c.B, c.L, c.D}).normal(0, 1.5),
                                      ArraySpec::parameter("A_log", {c.D, c.N}).uniform(0, 3),
                                      ArraySpec::activation("B", {c.B, c.L, c.N}),
                                      ArraySpec::activation("C", {c.B, c.L, c.N}),
                                      ArraySpec::parameter("D", {c.D}),
                                      ArraySpec::parameter("dt_bias", {c.D}).uniform(-7, 1)};
        // Without a state before it, the only step does not see how fast a state decays.
        if (c.L == 1 && !c.has(kState) && !c.has(kZoh)) all[2].zero = true;
        if (c.has(kGate)) all.push_back(ArraySpec::activation("z", {c.B, c.L, c.D}));
        if (c.has(kStart)) all.push_back(ArraySpec::start_flags("start", c.B, c.L));
        if (c.has(kState)) all.push_back(ArraySpec::state("h0", {c.B, c.D, c.N}).gradient_in("d_hT"));
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        ArraySpec hT = ArraySpec::state("hT", {c.B, c.D, c.N});
        hT.continues = "h0";
        hT.differentiable = c.has(kState);
        return {ArraySpec::activation("y", {c.B, c.L, c.D}), hT,
                ArraySpec::saved("chunk_states", scan_chunk_states_shape(c.B, c.L, c.D, c.N))};
    }

    static Discretization discretization(const Case& c) {
        return c.has(kZoh) ? Discretization::zoh : Discretization::euler;
    }
    template <class S>
    static ref::Scan<S> ref_args(const Case& c, const Bag<S>& a) {
        return {a.template in<3>("u"),       a.template in<3>("dt_raw"), a.template in<2>("A_log"),
                a.template in<3>("B"),       a.template in<3>("C"),      a.template in<1>("D"),
                a.template in<1>("dt_bias"), a.template in<3>("z"),      a.flags("start"),
                a.template in<3>("h0"),      discretization(c)};
    }
    template <class S, class Build = AsBuilt>
    static void ref_forward(const Case& c, Bag<S>& a) {
        std::vector<S> memory(static_cast<size_t>(ref::scan_forward_values(c.N)));
        ref::scan_forward<S, Build>(ref_args<S>(c, a), a.template out<3>("y"), a.template out<3>("hT"), {},
                                    memory.data());
    }
    template <class S, class Build = AsBuilt>
    static void ref_backward(const Case& c, Bag<S>& a) {
        const ref::ScanGradients<S> grads{a.template in<3>("d_y"),        a.template out<3>("d_u"),
                                          a.template out<3>("d_dt_raw"),  a.template out<3>("d_z"),
                                          a.template out<3>("d_B"),       a.template out<3>("d_C"),
                                          a.template out<2>("d_A_log"),   a.template out<1>("d_D"),
                                          a.template out<1>("d_dt_bias"), a.template out<3>("d_hT")};
        std::vector<S> memory(static_cast<size_t>(ref::scan_backward_values(c.L, c.N)));
        ref::scan_backward<S, Build>(ref_args<S>(c, a), grads, memory.data());
    }
    static void ref_forward_not_vectorized(const Case& c, Bag<float>& a);
    static void ref_backward_not_vectorized(const Case& c, Bag<float>& a);

    static ScanArgs args(const Case& c, const TensorBag& a) {
        return {a["u"],       a["dt_raw"], a["A_log"], a["B"],  a["C"],           a["D"],
                a["dt_bias"], a["z"],      a["start"], a["h0"], discretization(c)};
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        scan_forward(ctx, args(c, a), {a["y"], a["hT"], a["chunk_states"]});
    }
    static void backward(Ctx& ctx, const Case& c, TensorBag& a) {
        scan_backward(ctx, args(c, a), a["chunk_states"],
                      {a["d_y"], a["d_u"], a["d_dt_raw"], a["d_z"], a["d_B"], a["d_C"], a["d_A_log"],
                       a["d_D"], a["d_dt_bias"], a["d_hT"]});
    }
    static void step(Ctx& ctx, const Case& c, TensorBag& a) { scan_step(ctx, args(c, a), a["hT"], a["y"]); }
};

}  // namespace adder
