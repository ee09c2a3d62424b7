// The recurrence of ssd.h on the CPU, step by step: the forward for narrow heads, and the single step.
//
// Forward: a task owns kTaskRows channels p of one head and all their states. Time runs in chunks; within a
// chunk, a tile of channels times state vectors stays in registers for all its steps, and y is summed over
// the tiles of N in ascending order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssd/ssd_recurrence_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/ceil_div.h"
#include "kernels/ssd/ssd_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder::cpu {
namespace HWY_NAMESPACE {

// Channels of one task of forward.
inline constexpr int64_t kTaskRows = 32;
// Heads of one task of `step`.
inline constexpr int64_t kStepHeads = 8;

// One chunk of one head: rows of B and C with at least padded(N) readable floats.
struct ChunkInput {
    int64_t steps, width;
    const float *B, *C;
    int64_t B_row, C_row;
    const float* decay;    // (steps)
    const uint8_t* start;  // (steps)
};

// Channels [p, p + R), state columns [n, n + NV * kLanes): `state` rows are padded(N) apart; input (steps,
// kTaskRows) is gain x; y (steps, kTaskRows) is added to.
template <int R, int NV>
HWY_INLINE void recur(const ChunkInput& in, int64_t n, float* state, const float* input, float* y) {
    Tile<R, NV> s;
    s.load(state + n, in.width);
    for (int64_t t = 0; t < in.steps; ++t) {
        if (in.start[t]) s.zero();
        const VF decay = hn::Set(DF(), in.decay[t]);
        VF B[NV], C[NV], sum[R];
#pragma GCC unroll 4
        for (int c = 0; c < NV; ++c) {
            B[c] = hn::LoadU(DF(), in.B + t * in.B_row + n + c * kLanes);
            C[c] = hn::LoadU(DF(), in.C + t * in.C_row + n + c * kLanes);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const VF x = hn::Set(DF(), input[t * kTaskRows + r]);
            sum[r] = hn::Zero(DF());
#pragma GCC unroll 4
            for (int c = 0; c < NV; ++c) {
                s.v[r][c] = hn::MulAdd(decay, s.v[r][c], hn::Mul(x, B[c]));
                sum[r] = hn::MulAdd(s.v[r][c], C[c], sum[r]);
            }
        }
        if (!y) continue;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) y[t * kTaskRows + r] += sum_of(sum[r]);
    }
    s.store(state + n, in.width);
}

template <int R>
HWY_INLINE void recur_rows(const ChunkInput& in, float* state, const float* input, float* y) {
    int64_t n = 0;
    for (; n + 4 * kLanes <= in.width; n += 4 * kLanes) recur<R, 4>(in, n, state, input, y);
    for (; n + 2 * kLanes <= in.width; n += 2 * kLanes) recur<R, 2>(in, n, state, input, y);
    for (; n < in.width; n += kLanes) recur<R, 1>(in, n, state, input, y);
}

// Channels [p0, p0 + rows) of head h of row b, all L steps.
HWY_INLINE void run_rows(const SsdProblemF& a, const SsdResultF& out, int64_t b, int64_t h, int64_t p0,
                         int64_t rows) {
    const int64_t width = padded(a.N), g = a.group(h) * a.N;
    alignas(64) float state[kTaskRows * 256], B[kSsdChunk * 256], C[kSsdChunk * 256];
    alignas(64) float input[kSsdChunk * kTaskRows], y[kSsdChunk * kTaskRows], decay[kSsdChunk];
    HeadSteps steps;
    if (a.h0)
        pack(state, width, &a.h0(b, h, p0, 0), a.h0.stride[2], rows, a.N);
    else
        std::fill(state, state + rows * width, 0.0f);
    for (int64_t t0 = 0; t0 < a.L; t0 += kSsdChunk) {
        const int64_t q = std::min(kSsdChunk, a.L - t0);
        if (out.chunk_states) {
            float* kept = out.chunk_states + (((b * a.chunks() + t0 / kSsdChunk) * a.H + h) * a.P + p0) * a.N;
            for (int64_t p = 0; p < rows; ++p) std::copy_n(state + p * width, a.N, kept + p * a.N);
        }
        uint8_t start[kSsdChunk] = {};
        for (int64_t t = 0; a.start && t < q; ++t) start[t] = a.start(b, t0 + t);
        steps.load(a, b, h, t0, q);
        for (int64_t t = 0; t < q; t += kLanes)
            hn::StoreU(exp_of(hn::LoadU(DF(), steps.log_decay + t)), DF(), decay + t);
        const float* x = &a.x(b, t0, h * a.P + p0);
        for (int64_t t = 0; t < q; ++t)
            for (int64_t p = 0; p < rows; ++p) {
                const float v = x[t * a.x.stride[1] + p];
                input[t * kTaskRows + p] = steps.gain[t] * v;
                y[t * kTaskRows + p] = a.D[h] * v;
            }
        ChunkInput in{q, width, &a.Bm(b, t0, g), &a.C(b, t0, g), a.Bm.stride[1], a.C.stride[1], decay, start};
        if (width != a.N) {
            pack(B, width, in.B, in.B_row, q, a.N);
            pack(C, width, in.C, in.C_row, q, a.N);
            in.B = B, in.C = C, in.B_row = in.C_row = width;
        }
        float* to = out.y ? y : nullptr;
        int64_t p = 0;
        if constexpr (kTileRows > 4)
            for (; p + 4 <= rows; p += 4)
                recur_rows<4>(in, state + p * width, input + p, to ? to + p : nullptr);
        for (; p + 2 <= rows; p += 2) recur_rows<2>(in, state + p * width, input + p, to ? to + p : nullptr);
        if (p < rows) recur_rows<1>(in, state + p * width, input + p, to ? to + p : nullptr);
        for (int64_t t = 0; to && t < q; ++t)
            for (int64_t i = 0; i < rows; ++i) out.y(b, t0 + t, h * a.P + p0 + i) = y[t * kTaskRows + i];
    }
    for (int64_t p = 0; p < rows; ++p) std::copy_n(state + p * width, a.N, &out.hT(b, h, p0 + p, 0));
}

void ForwardRecurrence(Ctx& ctx, const SsdProblemF& a, const SsdResultF& out) {
    const int64_t blocks = ceil_div(a.P, kTaskRows);
    ctx.pool->run(a.B * a.H * blocks, [&](int64_t task) HWY_ATTR {
        const int64_t row_head = task / blocks, p0 = task % blocks * kTaskRows;
        run_rows(a, out, row_head / a.H, row_head % a.H, p0, std::min(kTaskRows, a.P - p0));
    });
}

// What one step of one head multiplies with. Rows of B and C hold N.
struct StepInput {
    float decay, gain, skip;
    bool fresh;  // a start: the state before is zero
    const float *B, *C;
};

// MR channels: x, y (MR); state rows of N are `row` apart.
template <int MR>
HWY_INLINE void step_rows(const StepInput& in, int64_t N, const float* x, float* state, int64_t row,
                          float* y) {
    const VF decay = hn::Set(DF(), in.decay);
    const int64_t whole = N / kLanes * kLanes;
    VF sum[MR], input[MR];
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) {
        input[r] = hn::Set(DF(), in.gain * x[r]);
        sum[r] = hn::Zero(DF());
    }
    for (int64_t n = 0; n < whole; n += kLanes) {
        const VF B = hn::LoadU(DF(), in.B + n), C = hn::LoadU(DF(), in.C + n);
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r) {
            VF v = hn::Mul(input[r], B);
            if (!in.fresh) v = hn::MulAdd(decay, hn::LoadU(DF(), state + r * row + n), v);
            hn::StoreU(v, DF(), state + r * row + n);
            sum[r] = hn::MulAdd(v, C, sum[r]);
        }
    }
    for (int r = 0; r < MR; ++r) {
        float total = sum_of(sum[r]);
        for (int64_t n = whole; n < N; ++n) {
            float& s = state[r * row + n];
            s = (in.fresh ? 0.0f : in.decay * s) + in.gain * x[r] * in.B[n];
            total += s * in.C[n];
        }
        y[r] = total + in.skip * x[r];
    }
}

void Step(Ctx& ctx, const SsdProblemF& a, const View<float, 4>& state, const View<float, 3>& y) {
    const int64_t runs = ceil_div(a.H, kStepHeads);
    const auto task = [&](int64_t i) HWY_ATTR {
        const int64_t b = i / runs, h0 = i % runs * kStepHeads, h1 = std::min(a.H, h0 + kStepHeads);
        alignas(64) float dt[kPad] = {}, rate[kPad] = {}, decay[kPad], gain[kPad];
        for (int64_t h = h0; h < h1; ++h) {
            dt[h - h0] = a.dt_raw(b, 0, h) + a.dt_bias[h];
            rate[h - h0] = a.A_log[h];
        }
        for (int64_t c = 0; c < kStepHeads; c += kLanes) {
            const VF step = softplus_of(hn::LoadU(DF(), dt + c));
            const VF x = hn::Neg(hn::Mul(step, exp_of(hn::LoadU(DF(), rate + c))));
            hn::StoreU(exp_of(x), DF(), decay + c);
            hn::StoreU(a.zoh ? hn::Mul(step, zoh_factor_of(x)) : step, DF(), gain + c);
        }
        for (int64_t h = h0; h < h1; ++h) {
            const int64_t g = a.group(h) * a.N;
            const StepInput in{decay[h - h0],  gain[h - h0],   a.D[h],
                               a.starts(b, 0), &a.Bm(b, 0, g), &a.C(b, 0, g)};
            for_row_tiles(a.P, [&](auto mr, int64_t p) HWY_ATTR {
                step_rows<mr>(in, a.N, &a.x(b, 0, h * a.P + p), &state(b, h, p, 0), state.stride[2],
                              &y(b, 0, h * a.P + p));
            });
        }
    };
    // Waking the threads costs more than a few thousand state elements.
    if (a.B * a.H * a.P * a.N < (1 << 15))
        for (int64_t i = 0; i < a.B * runs; ++i) task(i);
    else
        ctx.pool->run(a.B * runs, task);
}

}  // namespace HWY_NAMESPACE
}  // namespace adder::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder::cpu {

HWY_EXPORT(ForwardRecurrence);
HWY_EXPORT(Step);

void ssd_forward_recurrence(Ctx& ctx, const SsdProblemF& a, const SsdResultF& out) {
    HWY_DYNAMIC_DISPATCH(ForwardRecurrence)(ctx, a, out);
}

void ssd_step(Ctx& ctx, const SsdProblemF& a, const View<float, 4>& state, const View<float, 3>& y) {
    HWY_DYNAMIC_DISPATCH(Step)(ctx, a, state, y);
}

}  // namespace adder::cpu
#endif
