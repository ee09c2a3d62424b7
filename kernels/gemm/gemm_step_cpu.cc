// Matrix-vector products: an output element is one dot product over I, added up in the same order wherever it
// stands in the batch, in the weight or in a tile of registers. Weight rows are read once per four rows of
// the batch.
#include <algorithm>

#include "core/ceil_div.h"
#include "kernels/gemm/gemm_cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/gemm_step_cpu.cc"
#include <hwy/foreach_target.h>

#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder {
namespace HWY_NAMESPACE {
namespace {

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;

// y[b0 + r, o + c] = dot(x[b0 + r], weight[o + c]) + bias[o + c] for kBatch rows and kOut outputs.
template <int kBatch, int kOut>
HWY_INLINE void dot_tile(const View<const float, 3>& x, const View<const float, 2>& weight, const float* bias,
                         const View<float, 3>& y, int64_t b0, int64_t o) {
    const Tag d;
    const size_t I = static_cast<size_t>(x.shape[2]), N = hn::Lanes(d);
    Vec sum[kBatch][kOut];
    const float* in[kBatch];
    const float* w[kOut];
    for (int r = 0; r < kBatch; ++r) in[r] = &x(b0 + r, 0, 0);
    for (int c = 0; c < kOut; ++c) w[c] = &weight(o + c, 0);
    for (int r = 0; r < kBatch; ++r)
        for (int c = 0; c < kOut; ++c) sum[r][c] = hn::Zero(d);
    size_t i = 0;
    for (; i + N <= I; i += N)
        for (int r = 0; r < kBatch; ++r) {
            const Vec v = hn::LoadU(d, in[r] + i);
            for (int c = 0; c < kOut; ++c) sum[r][c] = hn::MulAdd(hn::LoadU(d, w[c] + i), v, sum[r][c]);
        }
    if (i < I)
        for (int r = 0; r < kBatch; ++r) {
            const Vec v = load_first(d, in[r] + i, I - i);
            for (int c = 0; c < kOut; ++c)
                sum[r][c] = hn::MulAdd(load_first(d, w[c] + i, I - i), v, sum[r][c]);
        }
    for (int r = 0; r < kBatch; ++r)
        for (int c = 0; c < kOut; ++c)
            y(b0 + r, 0, o + c) = sum_of(d, sum[r][c]) + (bias ? bias[o + c] : 0.0f);
}

// Outputs [begin, end) of all rows.
void dot_rows(View<const float, 3> x, View<const float, 2> weight, const float* bias, View<float, 3> y,
              int64_t begin, int64_t end) {
    // As many sums as fit beside the operands in 32 registers (512-bit) or 16.
    constexpr int kOut = HWY_MAX_BYTES >= 64 ? 4 : 2;
    const int64_t B = x.shape[0];
    int64_t b = 0;
    for (; b + 4 <= B; b += 4) {
        int64_t o = begin;
        for (; o + kOut <= end; o += kOut) dot_tile<4, kOut>(x, weight, bias, y, b, o);
        for (; o < end; ++o) dot_tile<4, 1>(x, weight, bias, y, b, o);
    }
    for (; b < B; ++b) {
        int64_t o = begin;
        for (; o + 8 <= end; o += 8) dot_tile<1, 8>(x, weight, bias, y, b, o);
        for (; o < end; ++o) dot_tile<1, 1>(x, weight, bias, y, b, o);
    }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace adder
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder {

namespace {
HWY_EXPORT(dot_rows);
}  // namespace

namespace cpu {

void linear_step(ThreadPool& pool, View<const float, 3> x, View<const float, 2> weight,
                 View<const float, 1> bias, View<float, 3> y) {
    // Waking a thread costs about 5 us, in which a core does half as many multiply-adds as this.
    constexpr int64_t kTaskWork = 250'000;
    const int64_t B = x.shape[0], O = weight.shape[0], I = weight.shape[1];
    const int64_t work = std::max<int64_t>(1, B * I);
    const int64_t outputs = std::max<int64_t>(8, (kTaskWork / work + 7) / 8 * 8);
    const auto run = HWY_DYNAMIC_DISPATCH(dot_rows);
    pool.run(ceil_div(O, outputs), [&](int64_t task) {
        run(x, weight, bias.data, y, task * outputs, std::min(O, (task + 1) * outputs));
    });
}

}  // namespace cpu
}  // namespace adder
#endif
