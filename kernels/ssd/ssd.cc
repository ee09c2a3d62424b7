#include "kernels/ssd/ssd.h"

#include "core/ceil_div.h"
#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/ssd/ssd_cpu.h"
#include "kernels/ssd/ssd_cuda.h"
#include "kernels/ssd/ssd_ref.h"

namespace adder {

namespace {

constexpr int64_t kMaxState = 256;

struct SsdSizes {
    int64_t B, L, H, P, N, G;
    DType storage, accum;

    OpCall call(const char* name, int64_t bytes, int64_t flops) const {
        return {name, {B, L, H, P, N}, {bytes, flops}};
    }
    int64_t cells() const { return B * L * H * P * N; }
    // x, y; dt; B, C: what a pass over the sequence reads or writes.
    int64_t sequence_bytes() const { return B * L * (2 * H * P + H + 2 * G * N) * size_of(storage); }
    int64_t state_bytes() const { return B * H * P * N * size_of(accum); }
    DType states() const { return ssd_chunk_states_dtype(storage, P, N); }
};

// Every shape follows from x, A_log, G and N.
SsdSizes check_args(const Ctx& ctx, const char* op, const SsdArgs& a) {
    const DType type = storage_of(ctx, op, "x", a.x);
    expect_rank(op, "x", a.x, 3);
    expect_rank(op, "A_log", a.A_log, 1);
    SsdSizes s{a.x.size(0), a.x.size(1), a.A_log.size(0), 0, a.N, a.G, type, accum_of(type)};
    expect(op, "D", a.D, s.accum, {s.H});
    expect(op, "dt_bias", a.dt_bias, s.accum, {s.H});
    if (s.B < 1 || s.L < 1) fail("[{}] x: expected (B,L,H*P) with B, L >= 1, got {}", op, describe(a.x));
    if (s.H < 1 || a.x.size(2) < s.H || a.x.size(2) % s.H != 0)
        fail("[{}] x: expected (B,L,H*P) with H = {} heads, got {}", op, s.H, describe(a.x));
    s.P = a.x.size(2) / s.H;
    if (s.N < 1 || s.N > kMaxState) fail("[{}] N: expected 1 to {}, got {}", op, kMaxState, s.N);
    if (s.G < 1 || s.H % s.G != 0) fail("[{}] G: expected a divisor of H = {}, got {}", op, s.H, s.G);

    expect(op, "A_log", a.A_log, s.accum, {s.H});
    expect(op, "dt_raw", a.dt_raw, type, {s.B, s.L, s.H});
    expect(op, "B", a.B, type, {s.B, s.L, s.G * s.N});
    expect(op, "C", a.C, type, {s.B, s.L, s.G * s.N});
    expect_optional(op, "start", a.start, DType::u8, {s.B, s.L});
    expect_optional(op, "h0", a.h0, s.accum, {s.B, s.H, s.P, s.N});
    return s;
}

template <class S>
SsdProblem<S> problem(const SsdSizes& s, const SsdArgs& a) {
    SsdProblem<S> p;
    p.B = s.B, p.L = s.L, p.H = s.H, p.P = s.P, p.N = s.N, p.G = s.G;
    p.zoh = a.discretization == Discretization::zoh;
    p.x = a.x.as<const S, 3>("[ssd] x");
    p.dt_raw = a.dt_raw.as<const S, 3>("[ssd] dt_raw");
    p.Bm = a.B.as<const S, 3>("[ssd] B");
    p.C = a.C.as<const S, 3>("[ssd] C");
    p.A_log = a.A_log.ptr<const S>("[ssd] A_log");
    p.D = a.D.ptr<const S>("[ssd] D");
    p.dt_bias = a.dt_bias.ptr<const S>("[ssd] dt_bias");
    p.start = a.start.as<const uint8_t, 2>("[ssd] start");
    p.h0 = a.h0.as<const S, 4>("[ssd] h0");
    return p;
}

template <class S>
SsdResult<S> result(const SsdOut& out) {
    return {out.y.as<S, 3>("[ssd] y"), out.hT.as<S, 4>("[ssd] hT"),
            out.chunk_states ? out.chunk_states.ptr<S>("[ssd] chunk_states") : nullptr};
}

template <class S>
SsdGradients<S> gradients(const SsdGrads& g) {
    SsdGradients<S> r;
    r.d_y = g.d_y.as<const S, 3>("[ssd] d_y");
    r.d_x = g.d_x.as<S, 3>("[ssd] d_x");
    r.d_dt_raw = g.d_dt_raw.as<S, 3>("[ssd] d_dt_raw");
    r.d_B = g.d_B.as<S, 3>("[ssd] d_B");
    r.d_C = g.d_C.as<S, 3>("[ssd] d_C");
    r.d_A_log = g.d_A_log.ptr<S>("[ssd] d_A_log");
    r.d_D = g.d_D.ptr<S>("[ssd] d_D");
    r.d_dt_bias = g.d_dt_bias.ptr<S>("[ssd] d_dt_bias");
    r.d_h = g.d_h.as<S, 4>("[ssd] d_h");
    return r;
}

const char* end_of(const TensorRef& t) {
    int64_t last = 0;
    for (int i = 0; i < t.rank(); ++i) last += (t.size(i) - 1) * t.stride[static_cast<size_t>(i)];
    return static_cast<const char*>(t.data) + (last + 1) * size_of(t.dtype);
}

bool overlap(const TensorRef& a, const TensorRef& b) {
    return a.data && b.data && static_cast<const char*>(a.data) < end_of(b) &&
           static_cast<const char*>(b.data) < end_of(a);
}

}  // namespace

DType ssd_chunk_states_dtype(DType storage, int64_t P, int64_t N) {
    const bool tiles = P % 16 == 0 && N % 16 == 0 && N <= 128;
    return storage == DType::bf16 && tiles && cuda::ssd_tensor_fits() ? DType::bf16 : accum_of(storage);
}

Shape ssd_chunk_states_shape(int64_t B, int64_t L, int64_t H, int64_t P, int64_t N) {
    return {B, ceil_div(L, kSsdChunk), H, P * N};
}

void ssd_forward(Ctx& ctx, const SsdArgs& args, const SsdOut& out) {
    ssd_forward_in(ctx, args, out, cpu::SsdForm::best);
}

void ssd_forward_in(Ctx& ctx, const SsdArgs& args, const SsdOut& out, cpu::SsdForm form) {
    constexpr const char* op = "ssd_forward";
    const SsdSizes s = check_args(ctx, op, args);
    expect_optional(op, "y", out.y, s.storage, {s.B, s.L, s.H * s.P});
    expect(op, "hT", out.hT, s.accum, {s.B, s.H, s.P, s.N});
    const Shape states = ssd_chunk_states_shape(s.B, s.L, s.H, s.P, s.N);
    expect_optional(op, "chunk_states", out.chunk_states, s.states(), states);
    if (out.chunk_states && args.h0 && overlap(args.h0, out.hT))
        fail("[{}] hT: expected memory apart from h0 as chunk_states are kept, got an overlap", op);

    const int64_t kept = out.chunk_states ? out.chunk_states.bytes() : 0;
    const int64_t skipped = out.y ? 0 : s.B * s.L * (s.H * s.P + s.G * s.N) * size_of(s.storage);  // y and C
    // A step: decay and add to the state (3 N P), read it out (2 N P).
    const OpCall call =
        s.call(op, s.sequence_bytes() - skipped + 2 * s.state_bytes() + kept, s.cells() * (out.y ? 5 : 3));
    if (ctx.device == Device::cuda) {
        run_op(ctx, call, cuda::ssd_forward_scratch_bytes(args, out),
               [args, out](Ctx& c, void* scratch) { cuda::ssd_forward(c, args, out, scratch); });
        return;
    }
    if (s.storage == DType::f64) {
        const auto a = problem<double>(s, args);
        const auto o = result<double>(out);
        run_op(ctx, call, s.P * s.N * size_of(DType::f64),
               [a, o](Ctx&, void* scratch) { ref::ssd_forward(a, o, static_cast<double*>(scratch)); });
        return;
    }
    const auto a = problem<float>(s, args);
    const auto o = result<float>(out);
    run_op(ctx, call, cpu::ssd_forward_scratch_bytes(a, form),
           [a, o, form](Ctx& c, void* scratch) { cpu::ssd_forward(c, a, o, scratch, form); });
}

void ssd_backward(Ctx& ctx, const SsdArgs& args, const TensorRef& chunk_states, const SsdGrads& g) {
    constexpr const char* op = "ssd_backward";
    const SsdSizes s = check_args(ctx, op, args);
    const Shape x{s.B, s.L, s.H * s.P}, bc{s.B, s.L, s.G * s.N};
    const Shape states_shape = ssd_chunk_states_shape(s.B, s.L, s.H, s.P, s.N);
    expect(op, "chunk_states", chunk_states, s.states(), states_shape);
    expect(op, "d_y", g.d_y, s.storage, x);
    expect(op, "d_x", g.d_x, s.storage, x);
    expect(op, "d_dt_raw", g.d_dt_raw, s.storage, {s.B, s.L, s.H});
    expect(op, "d_B", g.d_B, s.storage, bc);
    expect(op, "d_C", g.d_C, s.storage, bc);
    expect(op, "d_A_log", g.d_A_log, s.accum, {s.H});
    expect(op, "d_D", g.d_D, s.accum, {s.H});
    expect(op, "d_dt_bias", g.d_dt_bias, s.accum, {s.H});
    expect_optional(op, "d_h", g.d_h, s.accum, {s.B, s.H, s.P, s.N});

    // Reads x, dt, B, C, d_y and writes d_x, d_dt, d_B, d_C. A step: 2 N P for each of d_state, d_C, d_B, d_x
    // and the decay's gradient, N P for the decay of d_state.
    const int64_t x_bytes = s.B * s.L * s.H * s.P * size_of(s.storage);
    const int64_t bytes = 2 * s.sequence_bytes() - x_bytes + chunk_states.bytes() + 2 * s.state_bytes();
    const OpCall call = s.call(op, bytes, s.cells() * 11);
    if (ctx.device == Device::cuda) {
        run_op(ctx, call, cuda::ssd_backward_scratch_bytes(args),
               [args, chunk_states, g](Ctx& c, void* scratch) { cuda::ssd_backward(c, args, chunk_states, g, scratch); });
        return;
    }
    if (s.storage == DType::f64) {
        const auto a = problem<double>(s, args);
        const auto grads = gradients<double>(g);
        const auto* states = chunk_states.ptr<const double>("[ssd] chunk_states");
        const int64_t scratch_bytes = (kSsdChunk + 2) * s.P * s.N * size_of(DType::f64);
        run_op(ctx, call, scratch_bytes, [a, states, grads](Ctx&, void* scratch) {
            ref::ssd_backward(a, states, grads, static_cast<double*>(scratch));
        });
        return;
    }
    const auto a = problem<float>(s, args);
    const auto grads = gradients<float>(g);
    const auto* states = chunk_states.ptr<const float>("[ssd] chunk_states");
    run_op(ctx, call, cpu::ssd_backward_scratch_bytes(a),
           [a, states, grads](Ctx& c, void* scratch) { cpu::ssd_backward(c, a, states, grads, scratch); });
}

void ssd_step(Ctx& ctx, const SsdArgs& args, const TensorRef& h, const TensorRef& y, bool settled) {
    constexpr const char* op = "ssd_step";
    const SsdSizes s = check_args(ctx, op, args);
    if (s.L != 1) fail("[{}] x: expected L = 1, got {}", op, describe(args.x));
    expect(op, "h", h, s.accum, {s.B, s.H, s.P, s.N});
    expect(op, "y", y, s.storage, {s.B, 1, s.H * s.P});
    const OpCall call = s.call(op, s.sequence_bytes() + 2 * s.state_bytes(), s.cells() * 5);
    if (ctx.device == Device::cuda) {
        run_op(ctx, call, 0, [=](Ctx& c, void*) { cuda::ssd_step(c, args, h, y, settled); });
        return;
    }
    if (s.storage == DType::f64) {
        const auto a = problem<double>(s, args);
        const auto state = h.as<double, 4>("[ssd_step] h");
        const auto out = y.as<double, 3>("[ssd_step] y");
        run_op(ctx, call, s.P * s.N * size_of(DType::f64), [a, state, out](Ctx&, void* scratch) {
            ref::ssd_step(a, state, out, static_cast<double*>(scratch));
        });
        return;
    }
    const auto a = problem<float>(s, args);
    const auto state = h.as<float, 4>("[ssd_step] h");
    const auto out = y.as<float, 3>("[ssd_step] y");
    run_op(ctx, call, 0, [a, state, out](Ctx& c, void*) { cpu::ssd_step(c, a, state, out); });
}

}  // namespace adder
