// The cases of ssd.h.
#pragma once
#include <span>
#include <vector>

#include "kernels/common/op_case.h"
#include "kernels/ssd/ssd.h"
#include "kernels/ssd/ssd_cpu.h"
#include "kernels/ssd/ssd_ref.h"

namespace adder {

struct SsdCases {
    static constexpr const char* op = "ssd";
    static constexpr bool sequence = true;

    struct Case {
        unsigned use;
        int64_t B, L, H, P, N, G;
        bool state;  // takes h0, and the gradient of hT
        bool zoh = false;
        bool starts = true;
        cpu::SsdForm form = cpu::SsdForm::best;
    };

    // Lengths go round the chunk of 64 steps; widths round vectors of 4 to 16 and panels of 32 and 64
    // channels.
    static std::span<const Case> cases() {
        constexpr auto kChunked = cpu::SsdForm::chunked, kRecurrence = cpu::SsdForm::recurrence;
        static constexpr Case all[] = {
            {kTest | kGrad | kSanitize, 1, 1, 1, 1, 1, 1, false},
            {kTest | kGrad | kHuge, 3, 2, 2, 5, 16, 2, true, true},
            {kTest | kGrad, 1, 7, 3, 4, 33, 1, true},
            {kTest | kGrad, 1, 70, 2, 2, 3, 1, true, true},
            {kTest | kSelftest, 1, 63, 8, 16, 64, 2, true},
            {kTest, 3, 64, 3, 5, 33, 1, true, true},
            {kTest | kSanitize, 1, 65, 2, 32, 128, 1, false},
            {kTest | kSelftest, 3, 131, 2, 16, 16, 1, true, true},
            {kTest, 1, 131, 1, 64, 256, 1, true},
            {kTest, 3, 131, 2, 1, 33, 2, false},
            {kTest, 1, 67, 2, 72, 24, 1, true, true},
            {kTest, 1, 67, 2, 80, 48, 1, true, true},
            {kTest | kSanitize, 1, 500, 3, 40, 20, 1, true},
            {kTest | kHuge | kSanitize, 3, 2, 2, 16, 16, 2, true},
            // Wide enough that both directions take it in several slices of time.
            {kTest, 1, 131, 8, 16, 256, 8, true},
            // So many groups that a CUDA block takes all heads of one.
            {kTest, 3, 66, 48, 4, 8, 16, true},
            {kTest, 1, 66, 96, 16, 16, 48, true},
            {kTest, 1, 66, 2, 4, 16, 1, true, false, true, kChunked},
            {kTest, 3, 66, 2, 34, 40, 1, true, false, true, kRecurrence},
            {kBench, 1, 4096, 4, 64, 64, 1, true, false, false, kChunked},
            {kBench, 1, 4096, 4, 64, 64, 1, true, false, false, kRecurrence},
            {kBench, 1, 4096, 4, 64, 128, 1, true, false, false, kChunked},
            {kBench, 1, 4096, 4, 64, 128, 1, true, false, false, kRecurrence},
            {kBenchCuda, 1, 1024, 16, 64, 128, 1, false, false, false},
            {kBenchCuda, 1, 4096, 16, 64, 128, 1, false, false, false},
            {kBenchCuda, 1, 65536, 16, 64, 128, 1, false, false, false},
            {kBenchCuda, 1, 1 << 20, 16, 64, 128, 1, false, false, false},
            {kBenchCuda, 8, 4096, 32, 64, 128, 1, false, false, false},
            {kBenchCuda, 8, 4096, 32, 64, 64, 1, false, false, false},
            {kBenchCuda, 1, 1 << 20, 8, 64, 128, 1, false, false, false},
            {kBenchCuda, 1, 131072, 8, 64, 64, 1, false, false, false},
            {kBenchCuda, 1, 1 << 20, 16, 64, 64, 1, false, false, false},
            {kBenchCuda, 1, 1, 8, 64, 128, 1, true, false, false},
            {kBenchCuda, 64, 1, 8, 64, 128, 1, true, false, false},
        };
        return all;
    }
    static std::string name(const Case& c) {
        constexpr const char* forms[] = {"", " chunked", " recurrence"};
        return fmt::format("B{} L{} H{} P{} N{} G{}{}{}{}", c.B, c.L, c.H, c.P, c.N, c.G, c.zoh ? " zoh" : "",
                           c.state ? " h0" : "", forms[static_cast<int>(c.form)]);
    }
    static Case part(Case c, int64_t B, int64_t L, bool state) {
        c.B = B;
        c.L = L;
        c.state = state;
        return c;
    }

    static std::vector<ArraySpec> inputs(const Case& c) {
        using A = ArraySpec;
        std::vector<A> all = {
            A::activation("x", {c.B, c.L, c.H * c.P}),
            A::activation("dt_raw", {c.B, c.L, c.H}).normal(-1.5, 1),
            A::parameter("A_log", {c.H}).uniform(0, 2.5),
            A::activation("B", {c.B, c.L, c.G * c.N}),
            A::activation("C", {c.B, c.L, c.G * c.N}),
            A::parameter("D", {c.H}).normal(1, 0.3),
            A::parameter("dt_bias", {c.H}).normal(-1, 0.5),
        };
        // One step from a zero state has nothing to decay.
        if (c.L == 1 && !c.state && !c.zoh) all[2].zero = true;
        if (c.starts) all.push_back(A::start_flags("start", c.B, c.L));
        if (c.state) all.push_back(A::state("h0", {c.B, c.H, c.P, c.N}).gradient_in("d_hT"));
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        ArraySpec hT = ArraySpec::state("hT", {c.B, c.H, c.P, c.N}).continuing("h0");
        // Backward leaves the gradient of h0 in d_hT.
        hT.differentiable = c.state;
        ArraySpec states = ArraySpec::saved("chunk_states", ssd_chunk_states_shape(c.B, c.L, c.H, c.P, c.N));
        if (ssd_chunk_states_dtype(DType::bf16, c.P, c.N) == DType::bf16) states.precision = Precision::storage;
        return {ArraySpec::activation("y", {c.B, c.L, c.H * c.P}), hT, states};
    }

    template <class S>
    static SsdProblem<S> problem(const Case& c, const Bag<S>& a) {
        SsdProblem<S> p;
        p.B = c.B, p.L = c.L, p.H = c.H, p.P = c.P, p.N = c.N, p.G = c.G, p.zoh = c.zoh;
        p.x = a.template in<3>("x");
        p.dt_raw = a.template in<3>("dt_raw");
        p.Bm = a.template in<3>("B");
        p.C = a.template in<3>("C");
        p.A_log = a.template in<1>("A_log").data;
        p.D = a.template in<1>("D").data;
        p.dt_bias = a.template in<1>("dt_bias").data;
        p.start = a.flags("start");
        p.h0 = a.template in<4>("h0");
        return p;
    }
    // Forward keeps its chunk states in the bag, so that backward is timed alone.
    template <class S, class Build = AsBuilt>
    static void ref_forward(const Case& c, Bag<S>& a) {
        const Shape kept = ssd_chunk_states_shape(c.B, c.L, c.H, c.P, c.N);
        if (!a.has("chunk_states"))
            a.put("chunk_states", kept, std::vector<S>(static_cast<size_t>(kept.numel())));
        std::vector<S> state(static_cast<size_t>(c.P * c.N));
        ref::ssd_forward<S, Build>(
            problem(c, a), {a.template out<3>("y"), a.template out<4>("hT"), a.at("chunk_states").data()},
            state.data());
    }
    template <class S, class Build = AsBuilt>
    static void ref_backward(const Case& c, Bag<S>& a) {
        SsdGradients<S> g;
        g.d_y = a.template in<3>("d_y");
        g.d_x = a.template out<3>("d_x");
        g.d_dt_raw = a.template out<3>("d_dt_raw");
        g.d_B = a.template out<3>("d_B");
        g.d_C = a.template out<3>("d_C");
        g.d_A_log = a.template out<1>("d_A_log").data;
        g.d_D = a.template out<1>("d_D").data;
        g.d_dt_bias = a.template out<1>("d_dt_bias").data;
        g.d_h = a.template out<4>("d_hT");
        std::vector<S> scratch(static_cast<size_t>((kSsdChunk + 2) * c.P * c.N));
        ref::ssd_backward<S, Build>(problem(c, a), a.at("chunk_states").data(), g, scratch.data());
    }
    static void ref_forward_not_vectorized(const Case& c, Bag<float>& a);
    static void ref_backward_not_vectorized(const Case& c, Bag<float>& a);

    static SsdArgs args(const Case& c, const TensorBag& a) {
        return {a["x"],  a["dt_raw"], a["A_log"],   a["B"],
                a["C"],  a["D"],      a["dt_bias"], a["start"],
                a["h0"], c.G,         c.N,          c.zoh ? Discretization::zoh : Discretization::euler};
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        ssd_forward_in(ctx, args(c, a), {a["y"], a["hT"], a["chunk_states"]}, c.form);
    }
    static void backward(Ctx& ctx, const Case& c, TensorBag& a) {
        ssd_backward(ctx, args(c, a), a["chunk_states"],
                     {a["d_y"], a["d_x"], a["d_dt_raw"], a["d_B"], a["d_C"], a["d_A_log"], a["d_D"],
                      a["d_dt_bias"], a["d_hT"]});
    }
    static void step(Ctx& ctx, const Case& c, TensorBag& a) { ssd_step(ctx, args(c, a), a["hT"], a["y"]); }
};

}  // namespace adder
