// Tasks are blocks of 64 rows, whatever the thread count. Each row is read twice, the second time from the
// first-level cache. The weight gradient is summed row by row within a block, then over blocks in order.
#include "kernels/norm/norm_cpu.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/common/partial_sums.h"
#include "kernels/common/row_blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/norm_cpu.cc"
#include <hwy/foreach_target.h>

#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder {
namespace HWY_NAMESPACE {
namespace {

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;

template <bool kTail>
HWY_INLINE Vec add_part(const float* x, const float* residual, float* out, size_t n, Vec squares) {
    const Tag d;
    Vec r = load<kTail>(d, x, n);
    if (residual) r = hn::Add(load<kTail>(d, residual, n), r);
    store<kTail>(r, d, out, n);
    return hn::MulAdd(r, r, squares);
}

template <bool kTail>
HWY_INLINE void scale_part(const float* r, const float* weight, Vec scale, float* y, size_t n) {
    const Tag d;
    store<kTail>(hn::Mul(hn::Mul(load<kTail>(d, r, n), scale), load<kTail>(d, weight, n)), d, y, n);
}

void forward_row(const float* x, const float* residual, const float* weight, float eps, float* out, float* y,
                 int64_t M_) {
    const Tag d;
    const size_t M = static_cast<size_t>(M_), N = hn::Lanes(d);
    const auto res = [residual](size_t m) { return residual ? residual + m : nullptr; };
    Vec s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    size_t m = 0;
    for (; m + 4 * N <= M; m += 4 * N) {
        s0 = add_part<false>(x + m, res(m), out + m, N, s0);
        s1 = add_part<false>(x + m + N, res(m + N), out + m + N, N, s1);
        s2 = add_part<false>(x + m + 2 * N, res(m + 2 * N), out + m + 2 * N, N, s2);
        s3 = add_part<false>(x + m + 3 * N, res(m + 3 * N), out + m + 3 * N, N, s3);
    }
    for (; m + N <= M; m += N) s0 = add_part<false>(x + m, res(m), out + m, N, s0);
    if (m < M) s1 = add_part<true>(x + m, res(m), out + m, M - m, s1);
    const float squares = sum_of(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
    const Vec scale = hn::Set(d, 1 / std::sqrt(squares / static_cast<float>(M) + eps));
    for (m = 0; m + N <= M; m += N) scale_part<false>(out + m, weight + m, scale, y + m, N);
    if (m < M) scale_part<true>(out + m, weight + m, scale, y + m, M - m);
}

void forward_rows(View<const float, 3> x, View<const float, 3> residual, const float* weight, float eps,
                  View<float, 3> out, View<float, 3> y, int64_t begin, int64_t end) {
    const int64_t L = x.shape[1], M = x.shape[2];
    for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / L, t = i % L;
        forward_row(&x(b, t, 0), residual ? &residual(b, t, 0) : nullptr, weight, eps, &out(b, t, 0),
                    &y(b, t, 0), M);
    }
}

struct Moments {
    Vec squares, dot;
};

template <bool kTail>
HWY_INLINE Moments moments_part(const float* r_, const float* weight, const float* d_y, size_t n,
                                Moments sum) {
    const Tag d;
    const Vec r = load<kTail>(d, r_, n);
    const Vec g = hn::Mul(load<kTail>(d, d_y, n), load<kTail>(d, weight, n));
    return {hn::MulAdd(r, r, sum.squares), hn::MulAdd(g, r, sum.dot)};
}

template <bool kTail>
HWY_INLINE void gradient_part(const float* r_, const float* weight, const float* d_y, Vec scale, Vec pull,
                              float* d_residual, float* d_weight, size_t n) {
    const Tag d;
    const Vec r = load<kTail>(d, r_, n), g = hn::Mul(load<kTail>(d, d_y, n), scale);
    store<kTail>(hn::MulAdd(g, r, load<kTail>(d, d_weight, n)), d, d_weight, n);
    const Vec d_r = hn::NegMulAdd(pull, r, hn::Mul(g, load<kTail>(d, weight, n)));
    store<kTail>(hn::Add(load<kTail>(d, d_residual, n), d_r), d, d_residual, n);
}

void backward_row(const float* r, const float* weight, float eps, const float* d_y, float* d_residual,
                  float* d_weight, int64_t M_) {
    const Tag d;
    const size_t M = static_cast<size_t>(M_), N = hn::Lanes(d);
    Moments a = {hn::Zero(d), hn::Zero(d)}, b = a;
    size_t m = 0;
    for (; m + 2 * N <= M; m += 2 * N) {
        a = moments_part<false>(r + m, weight + m, d_y + m, N, a);
        b = moments_part<false>(r + m + N, weight + m + N, d_y + m + N, N, b);
    }
    for (; m + N <= M; m += N) a = moments_part<false>(r + m, weight + m, d_y + m, N, a);
    if (m < M) b = moments_part<true>(r + m, weight + m, d_y + m, M - m, b);
    const float width = static_cast<float>(M);
    const float scale = 1 / std::sqrt(sum_of(d, hn::Add(a.squares, b.squares)) / width + eps);
    const Vec v_scale = hn::Set(d, scale);
    const Vec v_pull = hn::Set(d, scale * scale * scale * sum_of(d, hn::Add(a.dot, b.dot)) / width);
    for (m = 0; m + N <= M; m += N)
        gradient_part<false>(r + m, weight + m, d_y + m, v_scale, v_pull, d_residual + m, d_weight + m, N);
    if (m < M)
        gradient_part<true>(r + m, weight + m, d_y + m, v_scale, v_pull, d_residual + m, d_weight + m, M - m);
}

// `sum` (M): the block's share of the weight gradient, overwritten.
void backward_rows(View<const float, 3> r, const float* weight, float eps, View<const float, 3> d_y,
                   View<float, 3> d_residual, float* sum, int64_t begin, int64_t end) {
    const int64_t L = r.shape[1], M = r.shape[2];
    std::memset(sum, 0, static_cast<size_t>(M) * sizeof(float));
    for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / L, t = i % L;
        backward_row(&r(b, t, 0), weight, eps, &d_y(b, t, 0), &d_residual(b, t, 0), sum, M);
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

void add_norm_forward(ThreadPool& pool, View<const float, 3> x, View<const float, 3> residual,
                      View<const float, 1> weight, float eps, View<float, 3> residual_out, View<float, 3> y) {
    const int64_t rows = x.shape[0] * x.shape[1];
    const auto run = HWY_DYNAMIC_DISPATCH(forward_rows);
    for_row_blocks(pool, rows, [&](int64_t, int64_t begin, int64_t end) {
        run(x, residual, weight.data, eps, residual_out, y, begin, end);
    });
}

int64_t add_norm_backward_scratch_bytes(int64_t B, int64_t L, int64_t M) {
    return row_blocks(B * L) * M * static_cast<int64_t>(sizeof(float));
}

void add_norm_backward(ThreadPool& pool, View<const float, 3> residual_out, View<const float, 1> weight,
                       float eps, View<const float, 3> d_y, View<float, 3> d_residual,
                       View<float, 1> d_weight, float* scratch) {
    const int64_t rows = d_y.shape[0] * d_y.shape[1], M = d_y.shape[2];
    const auto run = HWY_DYNAMIC_DISPATCH(backward_rows);
    for_row_blocks(pool, rows, [&](int64_t block, int64_t begin, int64_t end) {
        run(residual_out, weight.data, eps, d_y, d_residual, scratch + block * M, begin, end);
    });
    add_partial_sums(pool, scratch, row_blocks(rows), M, d_weight.data);
}

}  // namespace cpu
}  // namespace adder
#endif
