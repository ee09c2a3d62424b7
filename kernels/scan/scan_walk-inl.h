// The inner loops of the scan's backward pass: a chunk of a few states of one block of channels, walked
// forward to repeat the states and back to take their gradients.
#if defined(ADDER_SCAN_WALK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ADDER_SCAN_WALK_INL_H_
#undef ADDER_SCAN_WALK_INL_H_
#else
#define ADDER_SCAN_WALK_INL_H_
#endif

#include "kernels/scan/scan_panel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder::cpu::HWY_NAMESPACE {

// States that are walked back together: what fits beside the panels in L1.
constexpr int kMaxStates = 4;

// Panels of one block of channels in one chunk.
struct Panels {
    float *dt, *v;  // as in forward
    float* d_out;   // gradient of the output before the gate
    float* out;     // that output; with a gate only
    float* d_v;     // sum over n of g B (times the weight for zoh)
    float* d_dt;    // log2(e) times the part of d_dt that comes through the states
};

// What the first walk leaves for the second: h[t + 1], a[t] and the weight[t] of zoh, (T, NB) vectors each.
struct Trace {
    float h[(kScanChunk + 1) * kMaxStates * kMaxLanes];
    float a[kScanChunk * kMaxStates * kMaxLanes];
    float weight[kScanChunk * kMaxStates * kMaxLanes];
};

template <int NB, bool kZoh, bool kOut>
HWY_NOINLINE void repeat_states(const Chunk& c, int64_t n0, const Rates& rates, const float* h_before,
                                int64_t count, int64_t h_stride, const Panels& p, Trace& HWY_RESTRICT trace) {
    const Tag d;
    const int64_t step = lanes(), W = rates.W;
    const float* HWY_RESTRICT dt_panel = p.dt;
    const float* HWY_RESTRICT v_panel = p.v;
    float* HWY_RESTRICT out_panel = p.out;
    V h[NB];
    for (int i = 0; i < NB; ++i) {
        h[i] = load_part(h_before + (n0 + i) * h_stride, count);
        hn::Store(h[i], d, trace.h + i * step);
    }
    for (int64_t t = 0; t < c.T; ++t) {
        const float* HWY_RESTRICT B = c.B + t * c.B_stride + n0;
        const float* HWY_RESTRICT C = c.C + t * c.C_stride + n0;
        const V dt = hn::Load(d, dt_panel + t * step), v = hn::Load(d, v_panel + t * step);
        if (HWY_UNLIKELY(c.cut[t]))
            for (int i = 0; i < NB; ++i) h[i] = hn::Zero(d);
        V out = kOut ? hn::Load(d, out_panel + t * step) : hn::Zero(d);
        for (int i = 0; i < NB; ++i) {
            const V A2 = hn::Load(d, rates.A2 + (n0 + i) * W);
            V a, weight;
            decay<kZoh>(dt, A2, kZoh ? hn::Load(d, rates.inv_A2 + (n0 + i) * W) : A2, a, weight);
            const V input = kZoh ? hn::Mul(v, weight) : v;
            h[i] = hn::MulAdd(a, h[i], hn::Mul(input, set(B[i])));
            hn::Store(a, d, trace.a + (t * NB + i) * step);
            if (kZoh) hn::Store(weight, d, trace.weight + (t * NB + i) * step);
            hn::Store(h[i], d, trace.h + ((t + 1) * NB + i) * step);
            if (kOut) out = hn::MulAdd(h[i], set(C[i]), out);
        }
        if (kOut) hn::Store(out, d, out_panel + t * step);
    }
}

// d weight / d A of the exact zero-order hold: dt^2 (exp(x) - (exp(x) - 1) / x) / x with x = dt A, by its
// series where the quotient cancels.
HWY_INLINE V d_weight_d_A(V dt, V a, V weight, V A2, V inv_A2) {
    const V x = hn::Mul(hn::Mul(dt, A2), set(kLn2));
    V p = set(1.0f / 403200);
    for (float term :
         {1.0f / 45360, 1.0f / 5760, 1.0f / 840, 1.0f / 144, 1.0f / 30, 1.0f / 8, 1.0f / 3, 1.0f / 2})
        p = hn::MulAdd(p, x, set(term));
    const V series = hn::Mul(hn::Mul(dt, dt), p);
    const V quotient = hn::Mul(hn::MulSub(dt, a, weight), hn::Mul(inv_A2, set(kLog2e)));
    return hn::IfThenElse(hn::Gt(x, set(-0.5f)), series, quotient);
}

// Walks the chunk back. d_B and d_C: (T, NB) vectors that gather the sums over channels.
template <int NB, bool kZoh>
HWY_NOINLINE void walk_back(const Chunk& c, int64_t n0, const Rates& rates, const Trace& HWY_RESTRICT trace,
                            const Panels& p, float* HWY_RESTRICT g_block, float* HWY_RESTRICT d_A_block,
                            float* HWY_RESTRICT d_B, float* HWY_RESTRICT d_C) {
    const Tag d;
    const int64_t step = lanes(), W = rates.W;
    const float* HWY_RESTRICT dt_panel = p.dt;
    const float* HWY_RESTRICT v_panel = p.v;
    const float* HWY_RESTRICT d_out_panel = p.d_out;
    float* HWY_RESTRICT d_v_panel = p.d_v;
    float* HWY_RESTRICT d_dt_panel = p.d_dt;
    V g[NB], d_A[NB];
    for (int i = 0; i < NB; ++i) {
        g[i] = hn::Load(d, g_block + (n0 + i) * W);
        d_A[i] = hn::Zero(d);
    }
    for (int64_t t = c.T - 1; t >= 0; --t) {
        const float* HWY_RESTRICT B = c.B + t * c.B_stride + n0;
        const float* HWY_RESTRICT C = c.C + t * c.C_stride + n0;
        const V dt = hn::Load(d, dt_panel + t * step), v = hn::Load(d, v_panel + t * step);
        const V d_out = hn::Load(d, d_out_panel + t * step);
        V d_v = hn::Load(d, d_v_panel + t * step), d_dt = hn::Load(d, d_dt_panel + t * step);
        const bool cut = c.cut[t] != 0;
        for (int i = 0; i < NB; ++i) {
            const int64_t at = (t * NB + i) * step;
            const V A2 = hn::Load(d, rates.A2 + (n0 + i) * W), a = hn::Load(d, trace.a + at);
            const V h = hn::Load(d, trace.h + at + NB * step);
            hn::Store(hn::MulAdd(d_out, h, hn::Load(d, d_C + at)), d, d_C + at);
            g[i] = hn::MulAdd(d_out, set(C[i]), g[i]);
            if constexpr (kZoh) {
                const V weight = hn::Load(d, trace.weight + at);
                const V g_v = hn::Mul(g[i], v);
                hn::Store(hn::MulAdd(g_v, weight, hn::Load(d, d_B + at)), d, d_B + at);
                d_v = hn::MulAdd(hn::Mul(g[i], set(B[i])), weight, d_v);
                const V d_weight = hn::Mul(g_v, set(B[i]));
                d_dt = hn::MulAdd(hn::Mul(d_weight, a), set(kLog2e), d_dt);
                const V inv_A2 = hn::Load(d, rates.inv_A2 + (n0 + i) * W);
                d_A[i] = hn::MulAdd(d_weight, d_weight_d_A(dt, a, weight, A2, inv_A2), d_A[i]);
            } else {
                hn::Store(hn::MulAdd(g[i], v, hn::Load(d, d_B + at)), d, d_B + at);
                d_v = hn::MulAdd(g[i], set(B[i]), d_v);
            }
            if (HWY_UNLIKELY(cut)) {
                g[i] = hn::Zero(d);
            } else {
                g[i] = hn::Mul(g[i], a);
                const V d_exponent = hn::Mul(g[i], hn::Load(d, trace.h + at));
                d_dt = hn::MulAdd(d_exponent, A2, d_dt);
                d_A[i] = hn::MulAdd(d_exponent, dt, d_A[i]);
            }
        }
        hn::Store(d_v, d, d_v_panel + t * step);
        hn::Store(d_dt, d, d_dt_panel + t * step);
    }
    for (int i = 0; i < NB; ++i) {
        hn::Store(g[i], d, g_block + (n0 + i) * W);
        float* const sum = d_A_block + (n0 + i) * W;
        hn::Store(hn::Add(hn::Load(d, sum), d_A[i]), d, sum);
    }
}

#if HWY_TARGET != HWY_SCALAR
// Adds the 128-bit blocks of v and stores the four sums.
template <class D>
HWY_INLINE void store_block_sum(D d, hn::Vec<D> v, float* out) {
    if constexpr (hn::MaxLanes(d) > 4) {
        const hn::Half<D> half;
        store_block_sum(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)), out);
    } else {
        hn::StoreU(v, d, out);
    }
}

// The sums over lanes of four vectors, by transposing while adding.
HWY_INLINE void store_four_sums(const float* vectors, float* out) {
    const Tag d;
    const hn::Repartition<uint64_t, Tag> pairs;
    const auto halves = [&](int64_t i) {
        const V x = hn::Load(d, vectors + i * lanes()), y = hn::Load(d, vectors + (i + 1) * lanes());
        return hn::BitCast(pairs, hn::Add(hn::InterleaveLower(d, x, y), hn::InterleaveUpper(d, x, y)));
    };
    const auto low = halves(0), high = halves(2);
    store_block_sum(d,
                    hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, low, high)),
                            hn::BitCast(d, hn::InterleaveUpper(pairs, low, high))),
                    out);
}
#endif

// Sums over the lanes of (T, NB) vectors into rows of length N.
template <int NB>
void sum_lanes(const float* vectors, int64_t T, int64_t N, float* out) {
    for (int64_t t = 0; t < T; ++t) {
#if HWY_TARGET != HWY_SCALAR
        if constexpr (NB == 4) {
            store_four_sums(vectors + t * NB * lanes(), out + t * N);
            continue;
        }
#endif
        for (int i = 0; i < NB; ++i)
            out[t * N + i] = sum_of_lanes(hn::Load(Tag(), vectors + (t * NB + i) * lanes()));
    }
}

}  // namespace adder::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard, once per target
