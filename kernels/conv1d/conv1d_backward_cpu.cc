// Backward works on blocks of 32 rows: the gradient g of the pre-activation goes into a buffer on the stack,
// with the K-1 rows after the block, from which d_x and the block's share of the weight gradient follow. The
// weight gradient is summed row by row within 1,024 steps, and those sums are added in order.
#include "kernels/conv1d/conv1d_rows.h"

#include <cstring>

#include "core/ceil_div.h"
#include "kernels/common/partial_sums.h"
#include "kernels/common/time_blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv1d/conv1d_backward_cpu.cc"
#include <hwy/foreach_target.h>

#include "kernels/conv1d/conv1d_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder {
namespace HWY_NAMESPACE {
namespace {

using cpu::kBackwardChannels;
using cpu::kBackwardRows;

// Gradients of the pre-activations of `part`, to rows of g that are kBackwardChannels wide.
void pre_gradients(const ConvRows& v, const ConvPart& part, const View<const float, 3>& d_y, float* g) {
    const auto put = [&]<bool kSilu>() {
        pre_activations(v, part, [&]<bool kTail>(Vec pre, int64_t t, int64_t at, size_t n) {
            const float* from = &d_y(part.b, t, at);
            hwy::Prefetch(from + 4 * d_y.stride[1]);
            Vec d_pre = load<kTail>(Tag(), from, n);
            if constexpr (kSilu) d_pre = hn::Mul(d_pre, d_silu(pre));
            store<kTail>(d_pre, Tag(), g + (t - part.begin) * kBackwardChannels + at - part.d0, n);
        });
    };
    v.c.silu ? put.template operator()<true>() : put.template operator()<false>();
}

// d_x of `part` from g, which begins at part.begin and reaches K-1 rows past part.end, and d_halo at the end.
void input_gradients(const ConvRows& v, const ConvPart& part, const float* g,
                     const View<const float, 3>& d_halo, const View<float, 3>& d_x) {
    constexpr int64_t kStride = kBackwardChannels;
    const Tag d;
    const int64_t b = part.b, K = v.K;
    const float* last_tap = v.taps + (K - 1) * v.D;
    for (int64_t t = part.begin; t < part.end;) {
        const float* rows = g + (t - part.begin) * kStride - part.d0;
        if (t + 4 <= part.end && v.four_seen(b, t)) {
            for_vectors(part.d0, part.d1, [&]<bool kTail>(int64_t at, size_t n) {
                Vec sum[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
                add_taps_to_four<kTail>(rows + at, kStride, last_tap + at, -v.D, K, n, sum);
                for (int i = 0; i < 4; ++i) store<kTail>(sum[i], d, &d_x(b, t + i, at), n);
            });
            t += 4;
            continue;
        }
        const int64_t count = v.seen_by(b, t) + 1, r = t - (v.L - (K - 1));
        const float* later = d_halo && r >= 0 && v.handed_on(b, t) ? &d_halo(b, r, 0) : nullptr;
        for_vectors(part.d0, part.d1, [&]<bool kTail>(int64_t at, size_t n) {
            Vec sum = later ? load<kTail>(d, later + at, n) : hn::Zero(d);
            for (int64_t j = 0; j < count; ++j)
                sum = hn::MulAdd(load<kTail>(d, last_tap - j * v.D + at, n),
                                 load<kTail>(d, rows + j * kStride + at, n), sum);
            store<kTail>(sum, d, &d_x(b, t, at), n);
        });
        ++t;
    }
}

// sums[i] += g x over `count` rows for kTaps taps from the one that `x` is the row of; also the sum of g, if
// wanted.
template <int kTaps, bool kTail>
HWY_INLINE void add_tap_gradients(const float* g, const float* x, int64_t x_stride, int64_t count,
                                  float* sums, int64_t sum_stride, float* g_sum, size_t n) {
    const Tag d;
    Vec sum[kTaps], total = g_sum ? load<kTail>(d, g_sum, n) : hn::Zero(d);
    for (int i = 0; i < kTaps; ++i) sum[i] = load<kTail>(d, sums + i * sum_stride, n);
    for (int64_t r = 0; r < count; ++r, g += kBackwardChannels, x += x_stride) {
        const Vec v = load<kTail>(d, g, n);
        total = hn::Add(total, v);
        for (int i = 0; i < kTaps; ++i) sum[i] = hn::MulAdd(v, load<kTail>(d, x + i * x_stride, n), sum[i]);
    }
    for (int i = 0; i < kTaps; ++i) store<kTail>(sum[i], d, sums + i * sum_stride, n);
    if (g_sum) store<kTail>(total, d, g_sum, n);
}

// sums (K+1,D) += the share of `part` in the gradients of the taps, and of the bias in the last row.
void weight_gradients(const ConvRows& v, const ConvPart& part, const float* g_, float* sums) {
    const int64_t b = part.b, K = v.K, x_stride = v.c.x.stride[1];
    float* g_sum = sums + K * v.D;
    for (int64_t t = part.begin, end; t < part.end; t = end) {
        const float* g = g_ + (t - part.begin) * kBackwardChannels - part.d0;
        for (end = t; end + 4 <= part.end && v.four_reach_back(b, end);) end += 4;
        if (const int64_t count = end - t; count > 0) {
            const float* x = &v.c.x(b, t - (K - 1), 0);
            for_vectors(part.d0, part.d1, [&]<bool kTail>(int64_t at, size_t n) {
                int64_t k = 0;
                for (; k + 4 <= K; k += 4)
                    add_tap_gradients<4, kTail>(g + at, x + k * x_stride + at, x_stride, count,
                                                sums + k * v.D + at, v.D, k == 0 ? g_sum + at : nullptr, n);
                for (; k < K; ++k)
                    add_tap_gradients<1, kTail>(g + at, x + k * x_stride + at, x_stride, count,
                                                sums + k * v.D + at, v.D, k == 0 ? g_sum + at : nullptr, n);
            });
            continue;
        }
        end = t + 1;
        for (int64_t k = K - 1 - v.reach(b, t); k < K; ++k) {
            const float* x = v.input(b, t - (K - 1) + k, 0);
            for_vectors(part.d0, part.d1, [&]<bool kTail>(int64_t at, size_t n) {
                add_tap_gradients<1, kTail>(g + at, x + at, 0, 1, sums + k * v.D + at, v.D,
                                            k == K - 1 ? g_sum + at : nullptr, n);
            });
        }
    }
}

// One slice of a sequence and a block of at most kBackwardChannels channels. `sums` (K+1,D): the slice's
// share of the weight gradient, overwritten. first_g (K-1,D): gets the first rows of g of the sequence.
void backward_part(const ConvRows& v, const ConvPart& part, View<const float, 3> d_y,
                   View<const float, 3> d_halo, View<float, 3> d_x, float* sums, float* first_g) {
    constexpr int64_t kStride = kBackwardChannels;
    HWY_ALIGN float g[(kBackwardRows + kMaxTaps - 1) * kStride];
    const auto [b, begin, end, d0, d1] = part;
    const auto bytes = static_cast<size_t>(d1 - d0) * sizeof(float);
    for (int64_t k = 0; k <= v.K; ++k) std::memset(sums + k * v.D + d0, 0, bytes);
    int64_t have = begin;  // g holds the rows up to here
    for (int64_t t = begin; t < end; t += kBackwardRows) {
        const ConvPart block{b, t, std::min(end, t + kBackwardRows), d0, d1};
        const int64_t need = std::min(v.L, block.end + v.K - 1);
        pre_gradients(v, {b, have, need, d0, d1}, d_y, g + (have - t) * kStride);
        have = need;
        for (int64_t r = t; r < std::min(block.end, v.K - 1); ++r)
            std::memcpy(first_g + r * v.D + d0, g + (r - t) * kStride, bytes);
        input_gradients(v, block, g, d_halo, d_x);
        weight_gradients(v, block, g, sums);
        if (block.end < end)
            std::memmove(g, g + kBackwardRows * kStride,
                         static_cast<size_t>((have - block.end) * kStride) * sizeof(float));
    }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace adder
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder::cpu {

namespace {

HWY_EXPORT(backward_part);

// Scratch of backward: (K,D) taps, (K+1,D) totals, (B,K-1,D) first rows of g, (B,slices,K+1,D) partial sums.
struct BackwardScratch {
    float *taps, *totals, *first_g, *sums;

    BackwardScratch(float* base, int64_t B, int64_t D, int64_t K)
        : taps(base), totals(taps + K * D), first_g(totals + (K + 1) * D), sums(first_g + B * (K - 1) * D) {}
};

// d_halo of row b: what the first rows of the sequence took from the halo, and old halo rows handed on in
// turn.
void halo_gradients(const ConvRows& v, int64_t b, const float* first_g, const View<float, 3>& d_halo) {
    for (int64_t j = v.K - 2; j >= 0; --j) {
        const int64_t t = j - (v.K - 1), seen = v.seen_by(b, t);
        float* __restrict out = &d_halo(b, j, 0);
        if (j >= v.L && v.handed_on(b, t))
            std::memcpy(out, &d_halo(b, j - v.L, 0), static_cast<size_t>(v.D) * 4);
        else
            std::memset(out, 0, static_cast<size_t>(v.D) * 4);
        for (int64_t i = -t; i <= seen; ++i) {
            const float *g = first_g + (t + i) * v.D, *tap = v.taps + (v.K - 1 - i) * v.D;
            for (int64_t d = 0; d < v.D; ++d) out[d] += g[d] * tap[d];
        }
    }
}

}  // namespace

int64_t conv1d_backward_scratch_bytes(int64_t B, int64_t L, int64_t D, int64_t K) {
    const int64_t rows = K + (K + 1) + B * (K - 1) + B * ceil_div(L, kTimeSlice) * (K + 1);
    return rows * D * static_cast<int64_t>(sizeof(float));
}

void conv1d_backward(ThreadPool& pool, const Conv1d& c, View<const float, 3> d_y, View<float, 3> d_x,
                     View<float, 2> d_weight, View<float, 1> d_bias, View<float, 3> d_halo, float* scratch) {
    const int64_t B = c.x.shape[0], D = c.x.shape[2], K = c.taps();
    const BackwardScratch s(scratch, B, D, K);
    const ConvRows v = rows_of(c, s.taps);
    const TimeBlocks slices{0, v.L, kTimeSlice};
    const int64_t n_slices = slices.count(), widths = ceil_div(D, kBackwardChannels);
    const View<const float, 3> d_halo_out{
        d_halo.data, {B, K - 1, D}, {d_halo.stride[0], d_halo.stride[1], 1}};
    const auto run = HWY_DYNAMIC_DISPATCH(backward_part);
    pool.run(B * n_slices * widths, [&](int64_t task) {
        const int64_t d = task % widths * kBackwardChannels, i = task / widths % n_slices,
                      b = task / widths / n_slices;
        run(v, {b, slices.begin(i), slices.begin(i + 1), d, std::min(D, d + kBackwardChannels)}, d_y,
            d_halo_out, d_x, s.sums + (b * n_slices + i) * (K + 1) * D, s.first_g + b * (K - 1) * D);
    });
    // The gradient of halo_out has been used by now.
    if (d_halo) pool.run(B, [&](int64_t b) { halo_gradients(v, b, s.first_g + b * (K - 1) * D, d_halo); });
    std::memset(s.totals, 0, static_cast<size_t>((K + 1) * D) * sizeof(float));
    add_partial_sums(pool, s.sums, B * n_slices, (K + 1) * D, s.totals);
    for (int64_t d = 0; d < D; ++d) {
        for (int64_t k = 0; k < K; ++k) d_weight(d, k) += s.totals[k * D + d];
        if (d_bias) d_bias(d) += s.totals[K * D + d];
    }
}

}  // namespace adder::cpu
#endif
