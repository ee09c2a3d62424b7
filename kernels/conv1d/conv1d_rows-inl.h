// Pre-activations, row by row. Vectors run over channels. Rows whose taps all lie inside the sequence and
// behind no start are computed four at a time, so that a weight is loaded once for four rows; the others one
// by one over the taps that they can see. The order of additions (bias, then taps from the oldest) is the
// same for both, and for a step. Included once per SIMD target (Highway's foreach_target).
#if defined(ADDER_KERNELS_CONV1D_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ADDER_KERNELS_CONV1D_ROWS_INL_H_
#undef ADDER_KERNELS_CONV1D_ROWS_INL_H_
#else
#define ADDER_KERNELS_CONV1D_ROWS_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/contrib/math/math-inl.h>

#include "kernels/common/simd-inl.h"
#include "kernels/conv1d/conv1d_rows.h"

HWY_BEFORE_NAMESPACE();
namespace adder {
namespace HWY_NAMESPACE {
namespace {

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;
using cpu::ConvPart;
using cpu::ConvRows;
using cpu::kMaxTaps;

// 1 / (1 + exp(-x)). The exponent is never positive, so nothing overflows. Highway's Exp makes 0 of a NaN,
// which the factor x that follows everywhere makes NaN again.
HWY_INLINE Vec sigmoid(Vec x) {
    const Tag d;
    const Vec e = hn::Exp(d, hn::Neg(hn::Abs(x))), one = hn::Set(d, 1.0f);
    return hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e));
}

HWY_INLINE Vec silu(Vec x) {
    return hn::Mul(x, sigmoid(x));
}

HWY_INLINE Vec d_silu(Vec x) {
    const Vec s = sigmoid(x), one = hn::Set(Tag(), 1.0f);
    return hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
}

// f(d, n, tail) for every vector of channels [d0, d1).
template <class F>
HWY_INLINE void for_vectors(int64_t d0, int64_t d1, F f) {
    const int64_t N = static_cast<int64_t>(hn::Lanes(Tag()));
    for (; d0 + N <= d1; d0 += N) f.template operator()<false>(d0, static_cast<size_t>(N));
    if (d0 < d1) f.template operator()<true>(d0, static_cast<size_t>(d1 - d0));
}

// sum[i] += taps[k] rows[i + k] for four rows i and k < K; rows and taps are strides apart.
template <bool kTail>
HWY_INLINE void add_taps_to_four(const float* rows, int64_t row_stride, const float* taps, int64_t tap_stride,
                                 int64_t K, size_t n, Vec (&sum)[4]) {
    const Tag d;
    for (int64_t k = 0; k < K; ++k, rows += row_stride, taps += tap_stride) {
        const Vec w = load<kTail>(d, taps, n);
        for (int i = 0; i < 4; ++i) sum[i] = hn::MulAdd(w, load<kTail>(d, rows + i * row_stride, n), sum[i]);
    }
}

// put(sum, row, d, n, tail) for the pre-activations of `part`.
template <class Put>
HWY_INLINE void pre_activations(const ConvRows& v, const ConvPart& part, Put put) {
    const Tag d;
    const int64_t b = part.b, K = v.K, x_stride = v.c.x.stride[1];
    const float* bias = v.c.bias.data;
    for (int64_t t = part.begin; t < part.end;) {
        if (t + 4 <= part.end && v.four_reach_back(b, t)) {
            const float* rows = &v.c.x(b, t - (K - 1), 0);
            for_vectors(part.d0, part.d1, [&]<bool kTail>(int64_t at, size_t n) {
                const Vec init = bias ? load<kTail>(d, bias + at, n) : hn::Zero(d);
                Vec sum[4] = {init, init, init, init};
                // Rows to come: the hardware does not foresee the jumps from row to row.
                for (int i = 0; i < 4; ++i) hwy::Prefetch(rows + (K + 3 + i) * x_stride + at);
                add_taps_to_four<kTail>(rows + at, x_stride, v.taps + at, v.D, K, n, sum);
                for (int i = 0; i < 4; ++i) put.template operator()<kTail>(sum[i], t + i, at, n);
            });
            t += 4;
            continue;
        }
        const int64_t first = K - 1 - v.reach(b, t);
        const float* rows[kMaxTaps];
        for (int64_t k = first; k < K; ++k) rows[k] = v.input(b, t - (K - 1) + k, 0);
        for_vectors(part.d0, part.d1, [&]<bool kTail>(int64_t at, size_t n) {
            Vec sum = bias ? load<kTail>(d, bias + at, n) : hn::Zero(d);
            for (int64_t k = first; k < K; ++k)
                sum = hn::MulAdd(load<kTail>(d, v.taps + k * v.D + at, n), load<kTail>(d, rows[k] + at, n),
                                 sum);
            put.template operator()<kTail>(sum, t, at, n);
        });
        ++t;
    }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace adder
HWY_AFTER_NAMESPACE();

#endif
