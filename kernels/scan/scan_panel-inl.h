// What forward, backward and step of the scan share: panels of a chunk, and the rates A of a group of
// channels.
#if defined(ADDER_SCAN_PANEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ADDER_SCAN_PANEL_INL_H_
#undef ADDER_SCAN_PANEL_INL_H_
#else
#define ADDER_SCAN_PANEL_INL_H_
#endif

#include <algorithm>

#include "kernels/common/simd-inl.h"
#include "kernels/scan/scan_cpu.h"
#include "kernels/scan/scan_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder::cpu::HWY_NAMESPACE {
namespace simd = ::adder::HWY_NAMESPACE;

// A panel holds T rows of one block of channels, one vector a row; the lanes past the last channel hold
// zeros.
constexpr int64_t kPanel = kScanChunk * kMaxLanes;

// A block of channels is one vector.
HWY_INLINE int64_t lanes() {
    return static_cast<int64_t>(hn::Lanes(Tag()));
}

// The first `count` lanes of a vector, the others zero; all of it when there are fewer lanes.
HWY_INLINE V load_part(const float* from, int64_t count) {
    if (count >= lanes()) return hn::LoadU(Tag(), from);
    return simd::load_first(Tag(), from, static_cast<size_t>(count));
}

HWY_INLINE void store_part(V x, float* to, int64_t count) {
    if (count >= lanes()) return hn::StoreU(x, Tag(), to);
    simd::store_first(x, Tag(), to, static_cast<size_t>(count));
}

// What all channels of a chunk share.
struct Chunk {
    int64_t T;  // steps
    const float* B;
    int64_t B_stride;
    const float* C;
    int64_t C_stride;
    const uint8_t* cut;  // T flags: the state before this step is zero
};

// log2(e) A and its inverse (exact zero-order hold only), (N, W) each, at one block of channels.
struct Rates {
    const float* A2;
    const float* inv_A2;
    int64_t W;
};

template <bool kZoh>
HWY_INLINE void decay(V dt, V A2, V inv_A2, V& a, V& weight) {
    if constexpr (kZoh) {
        V a_minus_1;
        exp2_and_minus_1(dt, A2, a, a_minus_1);
        weight = hn::Mul(hn::Mul(a_minus_1, inv_A2), set(kLog2e));
    } else {
        a = exp2_product(dt, A2);
        (void)inv_A2;
        (void)weight;
    }
}

// log2(e) A = -log2(e) exp(A_log). A rate too small to change a state is kept away from zero for its
// inverse's sake.
HWY_INLINE V rate(V A_log) {
    const V A2 = hn::Mul(exp(canonical_nan(A_log)), set(-kLog2e));
    return hn::IfThenElse(hn::Gt(A2, set(-1e-30f)), set(-1e-30f), A2);
}

// Fills A2 and inv_A2 for channels d0 .. d0 + count of a group of width W; the rest of the group gets a
// harmless rate.
inline void prepare_rates(View<const float, 2> A_log, int64_t d0, int64_t count, int64_t W, float* A2,
                          float* inv_A2) {
    const int64_t N = A_log.shape[1];
    for (int64_t n = 0; n < N; ++n)
        for (int64_t i = 0; i < W; ++i) A2[n * W + i] = i < count ? A_log(d0 + i, n) : 0.0f;
    for (int64_t i = 0; i < N * W; i += lanes()) {
        const V A = rate(hn::Load(Tag(), A2 + i));
        hn::Store(A, Tag(), A2 + i);
        if (inv_A2) hn::Store(hn::Div(set(1.0f), A), Tag(), inv_A2 + i);
    }
}

// State (D,N) of one batch row <-> (N, W) of one group.
inline void load_state(View<const float, 3> h, int64_t b, int64_t d0, int64_t count, int64_t W, float* to) {
    const int64_t N = h.shape[2];
    for (int64_t n = 0; n < N; ++n)
        for (int64_t i = 0; i < W; ++i) to[n * W + i] = i < count ? h(b, d0 + i, n) : 0.0f;
}

inline void store_state(const float* from, int64_t b, int64_t d0, int64_t count, int64_t W,
                        View<float, 3> h) {
    const int64_t N = h.shape[2];
    for (int64_t i = 0; i < count; ++i)
        for (int64_t n = 0; n < N; ++n) h(b, d0 + i, n) = from[n * W + i];
}

// dt, and the input as the recurrence takes it: dt u (euler) or u (zoh).
template <bool kZoh>
HWY_INLINE void step_inputs(V dt_raw, V dt_bias, V u, V& dt, V& v) {
    dt = softplus(canonical_nan(hn::Add(dt_raw, dt_bias)));
    v = kZoh ? u : hn::Mul(dt, u);
}

HWY_INLINE V gate(V z) {
    return hn::Mul(z, sigmoid(canonical_nan(z)));
}

// Copies the flags of a chunk, zeros when there are none.
inline void load_flags(View<const uint8_t, 2> start, int64_t b, int64_t t0, int64_t T, uint8_t* cut) {
    for (int64_t t = 0; t < T; ++t) cut[t] = start ? start(b, t0 + t) : uint8_t{0};
}

}  // namespace adder::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard, once per target
