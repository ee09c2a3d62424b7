// Tasks are blocks of 64 rows, whatever the thread count. A group's row is passed over twice, the second time
// in the first-level cache; what the first pass computed waits in the output rows (forward: the gated row in
// y, backward: the sigmoid in d_z). The weight gradient is summed row by row within a block, then over blocks
// in order.
#include "kernels/gated_norm/gated_norm_cpu.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/common/partial_sums.h"
#include "kernels/common/row_blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gated_norm/gated_norm_cpu.cc"
#include <hwy/foreach_target.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder {
namespace HWY_NAMESPACE {
namespace {

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;

// 1 / (1 + exp(-z)). The exponent is never positive, so nothing overflows. Highway's Exp makes 0 of a NaN,
// and so this makes a number; every use multiplies it by z.
HWY_INLINE Vec sigmoid(Vec z) {
    const Tag d;
    const Vec e = hn::Exp(d, hn::Neg(hn::Abs(z))), one = hn::Set(d, 1.0f);
    return hn::Div(hn::IfThenElse(hn::Lt(z, hn::Zero(d)), e, one), hn::Add(e, one));
}

template <bool kTail>
HWY_INLINE Vec gate_part(const float* x, const float* z_, float* y, size_t n, Vec squares) {
    const Tag d;
    const Vec z = load<kTail>(d, z_, n);
    const Vec g = hn::Mul(load<kTail>(d, x, n), hn::Mul(z, sigmoid(z)));
    store<kTail>(g, d, y, n);
    return hn::MulAdd(g, g, squares);
}

template <bool kTail>
HWY_INLINE void scale_part(const float* weight, Vec scale, float* y, size_t n) {
    const Tag d;
    store<kTail>(hn::Mul(hn::Mul(load<kTail>(d, y, n), scale), load<kTail>(d, weight, n)), d, y, n);
}

void forward_group(const float* x, const float* z, const float* weight, float eps, float* y, size_t n) {
    const Tag d;
    const size_t N = hn::Lanes(d);
    Vec sum = hn::Zero(d);
    size_t i = 0;
    for (; i + N <= n; i += N) sum = gate_part<false>(x + i, z + i, y + i, N, sum);
    if (i < n) sum = gate_part<true>(x + i, z + i, y + i, n - i, sum);
    const Vec scale = hn::Set(d, 1 / std::sqrt(sum_of(d, sum) / static_cast<float>(n) + eps));
    for (i = 0; i + N <= n; i += N) scale_part<false>(weight + i, scale, y + i, N);
    if (i < n) scale_part<true>(weight + i, scale, y + i, n - i);
}

void forward_rows(const cpu::GatedNormRows& in, View<float, 3> y, int64_t begin, int64_t end) {
    const int64_t L = in.x.shape[1], D = in.x.shape[2], n = D / in.G;
    for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / L, t = i % L;
        const float *x = &in.x(b, t, 0), *z = &in.z(b, t, 0);
        float* out = &y(b, t, 0);
        for (int64_t d = 0; d < D; d += n)
            forward_group(x + d, z + d, in.weight.data + d, in.eps, out + d, static_cast<size_t>(n));
    }
}

struct Moments {
    Vec squares, dot;
};

// Leaves the sigmoid in d_z.
template <bool kTail>
HWY_INLINE Moments moments_part(const float* x, const float* z_, const float* weight, const float* d_y,
                                float* d_z, size_t n, Moments sum) {
    const Tag d;
    const Vec z = load<kTail>(d, z_, n), s = sigmoid(z);
    store<kTail>(s, d, d_z, n);
    const Vec g = hn::Mul(load<kTail>(d, x, n), hn::Mul(z, s));
    const Vec h = hn::Mul(load<kTail>(d, d_y, n), load<kTail>(d, weight, n));
    return {hn::MulAdd(g, g, sum.squares), hn::MulAdd(h, g, sum.dot)};
}

// silu'(z) = s (1 + z (1 - s)) = s + silu (1 - s).
template <bool kTail>
HWY_INLINE void gradient_part(const float* x_, const float* z, const float* weight, const float* d_y_,
                              Vec scale, Vec pull, float* d_x, float* d_z, float* d_weight, size_t n) {
    const Tag d;
    const Vec x = load<kTail>(d, x_, n), s = load<kTail>(d, d_z, n),
              d_y = hn::Mul(load<kTail>(d, d_y_, n), scale);
    const Vec gate = hn::Mul(load<kTail>(d, z, n), s), g = hn::Mul(x, gate);
    store<kTail>(hn::MulAdd(d_y, g, load<kTail>(d, d_weight, n)), d, d_weight, n);
    const Vec d_g = hn::NegMulAdd(pull, g, hn::Mul(d_y, load<kTail>(d, weight, n)));
    store<kTail>(hn::Mul(d_g, gate), d, d_x, n);
    const Vec d_gate = hn::MulAdd(gate, hn::Sub(hn::Set(d, 1.0f), s), s);
    store<kTail>(hn::Mul(hn::Mul(d_g, x), d_gate), d, d_z, n);
}

void backward_group(const float* x, const float* z, const float* weight, float eps, const float* d_y,
                    float* d_x, float* d_z, float* d_weight, size_t n) {
    const Tag d;
    const size_t N = hn::Lanes(d);
    Moments sum = {hn::Zero(d), hn::Zero(d)};
    size_t i = 0;
    for (; i + N <= n; i += N) sum = moments_part<false>(x + i, z + i, weight + i, d_y + i, d_z + i, N, sum);
    if (i < n) sum = moments_part<true>(x + i, z + i, weight + i, d_y + i, d_z + i, n - i, sum);
    const float width = static_cast<float>(n);
    const float scale = 1 / std::sqrt(sum_of(d, sum.squares) / width + eps);
    const Vec v_scale = hn::Set(d, scale);
    const Vec v_pull = hn::Set(d, scale * scale * scale * sum_of(d, sum.dot) / width);
    for (i = 0; i + N <= n; i += N)
        gradient_part<false>(x + i, z + i, weight + i, d_y + i, v_scale, v_pull, d_x + i, d_z + i,
                             d_weight + i, N);
    if (i < n)
        gradient_part<true>(x + i, z + i, weight + i, d_y + i, v_scale, v_pull, d_x + i, d_z + i,
                            d_weight + i, n - i);
}

// `sum` (D): the block's share of the weight gradient, overwritten.
void backward_rows(const cpu::GatedNormRows& in, View<const float, 3> d_y, View<float, 3> d_x,
                   View<float, 3> d_z, float* sum, int64_t begin, int64_t end) {
    const int64_t L = in.x.shape[1], D = in.x.shape[2], n = D / in.G;
    std::memset(sum, 0, static_cast<size_t>(D) * sizeof(float));
    for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / L, t = i % L;
        const float *x = &in.x(b, t, 0), *z = &in.z(b, t, 0), *g = &d_y(b, t, 0);
        float *to_x = &d_x(b, t, 0), *to_z = &d_z(b, t, 0);
        for (int64_t d = 0; d < D; d += n)
            backward_group(x + d, z + d, in.weight.data + d, in.eps, g + d, to_x + d, to_z + d, sum + d,
                           static_cast<size_t>(n));
    }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace adder
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder {

namespace {

HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

}  // namespace

namespace cpu {

void gated_norm_forward(ThreadPool& pool, const GatedNormRows& in, View<float, 3> y) {
    const int64_t rows = in.x.shape[0] * in.x.shape[1];
    const auto run = HWY_DYNAMIC_DISPATCH(forward_rows);
    for_row_blocks(pool, rows, [&](int64_t, int64_t begin, int64_t end) { run(in, y, begin, end); });
}

int64_t gated_norm_backward_scratch_bytes(int64_t B, int64_t L, int64_t D) {
    return row_blocks(B * L) * D * static_cast<int64_t>(sizeof(float));
}

void gated_norm_backward(ThreadPool& pool, const GatedNormRows& in, View<const float, 3> d_y,
                         View<float, 3> d_x, View<float, 3> d_z, View<float, 1> d_weight, float* scratch) {
    const int64_t rows = in.x.shape[0] * in.x.shape[1], D = in.x.shape[2];
    const auto run = HWY_DYNAMIC_DISPATCH(backward_rows);
    for_row_blocks(pool, rows, [&](int64_t block, int64_t begin, int64_t end) {
        run(in, d_y, d_x, d_z, scratch + block * D, begin, end);
    });
    add_partial_sums(pool, scratch, row_blocks(rows), D, d_weight.data);
}

}  // namespace cpu
}  // namespace adder
#endif
