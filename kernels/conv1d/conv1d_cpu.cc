// Forward and step.
#include "kernels/conv1d/conv1d_rows.h"

#include <cstring>

#include "core/ceil_div.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv1d/conv1d_cpu.cc"
#include <hwy/foreach_target.h>

#include "kernels/conv1d/conv1d_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder {
namespace HWY_NAMESPACE {
namespace {

void forward_part(const ConvRows& v, const ConvPart& part, View<float, 3> y) {
    const auto put = [&]<bool kSilu>() {
        pre_activations(v, part, [&]<bool kTail>(Vec pre, int64_t t, int64_t at, size_t n) {
            store<kTail>(kSilu ? silu(pre) : pre, Tag(), &y(part.b, t, at), n);
        });
    };
    v.c.silu ? put.template operator()<true>() : put.template operator()<false>();
}

// One step of row b in place.
void step_row(const ConvRows& v, int64_t b, View<float, 3> halo, View<float, 3> y) {
    const Tag d;
    const int64_t K = v.K, h_stride = halo.stride[1];
    const bool cut = v.c.start && v.c.start(b, 0);
    const float* x = &v.c.x(b, 0, 0);
    float *h = &halo(b, 0, 0), *out = &y(b, 0, 0);
    for_vectors(0, v.D, [&]<bool kTail>(int64_t at, size_t n) {
        Vec sum = v.c.bias ? load<kTail>(d, v.c.bias.data + at, n) : hn::Zero(d);
        for (int64_t k = 0; k < K; ++k) {
            const Vec in = k < K - 1 ? load<kTail>(d, h + k * h_stride + at, n) : load<kTail>(d, x + at, n);
            if (k == K - 1 || !cut) sum = hn::MulAdd(load<kTail>(d, v.taps + k * v.D + at, n), in, sum);
            if (k > 0) store<kTail>(cut && k < K - 1 ? hn::Zero(d) : in, d, h + (k - 1) * h_stride + at, n);
        }
        store<kTail>(v.c.silu ? silu(sum) : sum, d, out + at, n);
    });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace adder
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder::cpu {

namespace {

HWY_EXPORT(forward_part);
HWY_EXPORT(step_row);

constexpr int64_t kForwardRows = 128, kForwardChannels = 512;

}  // namespace

ConvRows rows_of(const Conv1d& c, float* taps) {
    const int64_t D = c.x.shape[2], K = c.taps();
    for (int64_t d = 0; d < D; ++d)
        for (int64_t k = 0; k < K; ++k) taps[k * D + d] = c.weight(d, k);
    return {c, taps, c.x.shape[1], D, K};
}

int64_t conv1d_forward_scratch_bytes(int64_t D, int64_t K) {
    return K * D * static_cast<int64_t>(sizeof(float));
}

void conv1d_forward(ThreadPool& pool, const Conv1d& c, View<float, 3> y, View<float, 3> halo_out,
                    float* scratch) {
    const ConvRows v = rows_of(c, scratch);
    const int64_t B = c.x.shape[0], times = ceil_div(v.L, kForwardRows),
                  widths = ceil_div(v.D, kForwardChannels);
    const auto run = HWY_DYNAMIC_DISPATCH(forward_part);
    pool.run(B * times * widths, [&](int64_t task) {
        const int64_t t = task / widths % times * kForwardRows, d = task % widths * kForwardChannels;
        run(v,
            {task / widths / times, t, std::min(v.L, t + kForwardRows), d,
             std::min(v.D, d + kForwardChannels)},
            y);
    });
    if (!halo_out) return;
    // Rows move up, so halo_out may be the halo.
    for (int64_t b = 0; b < B; ++b)
        for (int64_t r = 0; r < v.K - 1; ++r) {
            const int64_t t = v.L - (v.K - 1) + r;
            float* out = &halo_out(b, r, 0);
            const auto bytes = static_cast<size_t>(v.D) * sizeof(float);
            if ((t >= 0 || c.halo) && v.handed_on(b, t))
                std::memcpy(out, v.input(b, t, 0), bytes);
            else
                std::memset(out, 0, bytes);
        }
}

void conv1d_step(ThreadPool& pool, const Conv1d& c, View<float, 3> halo, View<float, 3> y, float* scratch) {
    constexpr int64_t kTaskWork = 16'384;  // channels: waking a thread costs as long
    const ConvRows v = rows_of(c, scratch);
    const int64_t B = c.x.shape[0], rows = std::max<int64_t>(1, kTaskWork / v.D);
    const auto run = HWY_DYNAMIC_DISPATCH(step_row);
    pool.run(ceil_div(B, rows), [&](int64_t task) {
        for (int64_t b = task * rows; b < std::min(B, (task + 1) * rows); ++b) run(v, b, halo, y);
    });
}

}  // namespace adder::cpu
#endif
