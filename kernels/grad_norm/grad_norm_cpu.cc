// Tasks are blocks of 16,384 elements of the concatenated list, whatever the thread count; their sums are
// added in order. Only a block whose sum is not finite is searched for the value at fault.
#include "kernels/grad_norm/grad_norm_cpu.h"

#include <algorithm>
#include <cmath>

#include "core/ceil_div.h"
#include "kernels/common/tensor_list.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/grad_norm/grad_norm_cpu.cc"
#include <hwy/foreach_target.h>

#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder {
namespace HWY_NAMESPACE {
namespace {

using Wide = hn::ScalableTag<double>;

// As many elements as a vector of doubles holds.
template <bool kTail>
HWY_INLINE hn::Vec<Wide> load_wide(const float* x, size_t n) {
    return hn::PromoteTo(Wide(), load<kTail>(hn::Rebind<float, Wide>(), x, n));
}
template <bool kTail>
HWY_INLINE hn::Vec<Wide> load_wide(const double* x, size_t n) {
    return load<kTail>(Wide(), x, n);
}

template <class T>
HWY_INLINE double squares(const T* x, size_t n) {
    const Wide d;
    const size_t N = hn::Lanes(d);
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 4 * N <= n; i += 4 * N) {
        const auto a = load_wide<false>(x + i, N), b = load_wide<false>(x + i + N, N);
        const auto c = load_wide<false>(x + i + 2 * N, N), e = load_wide<false>(x + i + 3 * N, N);
        s0 = hn::MulAdd(a, a, s0);
        s1 = hn::MulAdd(b, b, s1);
        s2 = hn::MulAdd(c, c, s2);
        s3 = hn::MulAdd(e, e, s3);
    }
    for (; i + N <= n; i += N) {
        const auto a = load_wide<false>(x + i, N);
        s0 = hn::MulAdd(a, a, s0);
    }
    if (i < n) {
        const auto a = load_wide<true>(x + i, n - i);
        s1 = hn::MulAdd(a, a, s1);
    }
    return sum_of(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

double squares_f32(const float* x, size_t n) {
    return squares(x, n);
}
double squares_f64(const double* x, size_t n) {
    return squares(x, n);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace adder
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder::cpu {

namespace {

HWY_EXPORT(squares_f32);
HWY_EXPORT(squares_f64);

constexpr int64_t kBlock = 16384;

int64_t blocks_of(int64_t total) {
    return ceil_div(total, kBlock);
}

// Finite f64 values may have a sum of squares that is not.
template <class T>
bool all_finite(const T* x, int64_t n) {
    return std::all_of(x, x + n, [](T value) { return std::isfinite(value); });
}

struct Piece {
    double squares;
    bool finite;
};

Piece piece_of(const TensorRef& t, int64_t from, int64_t to) {
    const auto n = static_cast<size_t>(to - from);
    if (t.dtype == DType::f32) {
        const float* x = static_cast<const float*>(t.data) + from;
        const double sum = HWY_DYNAMIC_DISPATCH(squares_f32)(x, n);
        return {sum, std::isfinite(sum) || all_finite(x, to - from)};
    }
    const double* x = static_cast<const double*>(t.data) + from;
    const double sum = HWY_DYNAMIC_DISPATCH(squares_f64)(x, n);
    return {sum, std::isfinite(sum) || all_finite(x, to - from)};
}

}  // namespace

int64_t grad_norm_scratch_bytes(int64_t total_elements) {
    return blocks_of(total_elements) * static_cast<int64_t>(sizeof(GradNorm));
}

GradNorm grad_norm(ThreadPool& pool, std::span<const TensorRef> tensors, void* scratch) {
    int64_t total = 0;
    for (const TensorRef& t : tensors) total += t.numel();
    auto* blocks = static_cast<GradNorm*>(scratch);
    pool.run(blocks_of(total), [&](int64_t task) {
        GradNorm block;
        for_pieces(
            static_cast<int64_t>(tensors.size()), task * kBlock, std::min(total, (task + 1) * kBlock),
            [&](int64_t i) { return tensors[static_cast<size_t>(i)].numel(); },
            [&](int64_t i, int64_t from, int64_t to) {
                const Piece piece = piece_of(tensors[static_cast<size_t>(i)], from, to);
                block.sum_of_squares += piece.squares;
                if (!piece.finite && block.first_bad < 0) block.first_bad = i;
            });
        blocks[task] = block;
    });
    GradNorm all;
    for (int64_t i = 0; i < blocks_of(total); ++i) {
        all.sum_of_squares += blocks[i].sum_of_squares;
        if (all.first_bad < 0) all.first_bad = blocks[i].first_bad;
    }
    return all;
}

}  // namespace adder::cpu
#endif
