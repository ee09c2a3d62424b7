// Tasks are blocks of 64 tokens of one row of the batch, cut at absolute multiples of 64. Vectors run along
// the vocabulary; the logarithms of a block's rows are taken together. Rows are passed over in groups small
// enough that the exponentials, which wait in d_logits for their sum, are still in the cache when they are
// scaled. Loss and W are added in f64: tokens of a block in order, blocks of 1,024 tokens in order, then
// those.
#include "kernels/cross_entropy/cross_entropy_cpu.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy/cross_entropy_cpu.cc"
#include <hwy/foreach_target.h>

#include <hwy/contrib/math/math-inl.h>

#include "core/ceil_div.h"
#include "kernels/common/simd-inl.h"
#include "kernels/common/time_blocks.h"

HWY_BEFORE_NAMESPACE();
namespace adder {
namespace HWY_NAMESPACE {
namespace {

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;

// For x <= 0; Highway's Exp makes 0 of a NaN.
HWY_INLINE Vec exp_of(Vec x) {
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(Tag(), x));
}

// Of a NaN this is anything.
float largest_of(const float* x, size_t V) {
    const Tag d;
    const size_t N = hn::Lanes(d);
    if (V < N) {
        const Vec lowest = hn::Set(d, x[0]);
        return hn::GetLane(hn::MaxOfLanes(d, hn::IfThenElse(hn::FirstN(d, V), load<true>(d, x, V), lowest)));
    }
    Vec a = hn::LoadU(d, x), b = a;
    size_t v = N;
    for (; v + 2 * N <= V; v += 2 * N) {
        a = hn::Max(a, hn::LoadU(d, x + v));
        b = hn::Max(b, hn::LoadU(d, x + v + N));
    }
    if (v + N <= V) a = hn::Max(a, hn::LoadU(d, x + v));
    b = hn::Max(b, hn::LoadU(d, x + V - N));  // the rest and some again
    return hn::GetLane(hn::MaxOfLanes(d, hn::Max(a, b)));
}

// Writes exp(x - shift) where `out` is given. The sum has as many accumulators as keep it short at large V.
float exp_row(const float* x, float shift_, float* out, size_t V) {
    const Tag d;
    const size_t N = hn::Lanes(d);
    const Vec shift = hn::Set(d, shift_);
    Vec s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    const auto part = [&](size_t v, Vec& sum) HWY_ATTR {
        const Vec e = exp_of(hn::Sub(hn::LoadU(d, x + v), shift));
        if (out) hn::StoreU(e, d, out + v);
        sum = hn::Add(sum, e);
    };
    size_t v = 0;
    for (; v + 4 * N <= V; v += 4 * N) part(v, s0), part(v + N, s1), part(v + 2 * N, s2), part(v + 3 * N, s3);
    for (; v + N <= V; v += N) part(v, s0);
    if (v < V) {
        const Vec e = exp_of(hn::Sub(load<true>(d, x + v, V - v), shift));
        if (out) store<true>(e, d, out + v, V - v);
        s1 = hn::Add(s1, hn::IfThenElseZero(hn::FirstN(d, V - v), e));
    }
    return sum_of(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

void scale_row(float* x, float scale_, size_t V) {
    const Tag d;
    const size_t N = hn::Lanes(d);
    const Vec scale = hn::Set(d, scale_);
    size_t v = 0;
    for (; v + N <= V; v += N) hn::StoreU(hn::Mul(hn::LoadU(d, x + v), scale), d, x + v);
    if (v < V) store<true>(hn::Mul(load<true>(d, x + v, V - v), scale), d, x + v, V - v);
}

// nats[i] = log(sum[i]) + shift[i], for whole vectors.
void log_rows(const float* sum, const float* shift, float* nats) {
    const Tag d;
    for (size_t i = 0; i < cpu::kBlockTokens; i += hn::Lanes(d)) {
        const Vec s = hn::LoadU(d, sum + i);
        const Vec log =
            hn::IfThenElse(hn::IsNaN(s), s, hn::Log(d, s));  // Highway's Log makes a number of a NaN
        hn::StoreU(hn::Add(log, hn::LoadU(d, shift + i)), d, nats + i);
    }
}

// Tokens [begin, end) of row b, at most kBlockTokens; adds to `total` token by token.
void add_loss(const cpu::CrossEntropyRows& a, int64_t b, int64_t begin, int64_t end, cpu::TokenLoss& total) {
    const auto V = static_cast<size_t>(a.logits.shape[2]);
    const int64_t n = end - begin;
    float sum[cpu::kBlockTokens], shift[cpu::kBlockTokens] = {}, nats[cpu::kBlockTokens],
                                  weight[cpu::kBlockTokens];
    std::fill(sum, sum + cpu::kBlockTokens, 1.0f);
    for (int64_t i = 0; i < n; ++i) {
        const int64_t t = begin + i, target = a.targets(b, t);
        weight[i] = target == a.ignore_index ? 0 : a.weights ? a.weights(b, t) : 1;
        if (weight[i] == 0) continue;
        const float* x = &a.logits(b, t, 0);
        const float largest = largest_of(x, V);
        shift[i] = largest - x[target];  // before d_logits may replace x
        sum[i] = exp_row(x, largest, a.d_logits ? &a.d_logits(b, t, 0) : nullptr, V);
    }
    log_rows(sum, shift, nats);
    for (int64_t i = 0; i < n; ++i) {
        const int64_t t = begin + i;
        const bool counts = weight[i] != 0;
        if (counts) total.add({static_cast<double>(weight[i]) * static_cast<double>(nats[i]), weight[i]});
        if (a.nats) a.nats(b, t) = counts ? static_cast<double>(nats[i]) : 0;
        if (!a.d_logits) continue;
        float* d_x = &a.d_logits(b, t, 0);
        if (!counts) {
            std::memset(d_x, 0, V * sizeof(float));
            continue;
        }
        scale_row(d_x, weight[i] / sum[i], V);
        d_x[a.targets(b, t)] -= weight[i];
    }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace adder
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder::cpu {

namespace {

HWY_EXPORT(add_loss);

constexpr int64_t kBlocksPerChunk = kTimeSlice / kBlockTokens;
constexpr int64_t kGroupElements = 16384;  // 64 KiB of exponentials

// Blocks that the tokens [t0, t0 + L) touch.
int64_t blocks_of(int64_t L, int64_t t0) {
    return ceil_div(t0 + L, kBlockTokens) - t0 / kBlockTokens;
}

}  // namespace

int64_t cross_entropy_scratch_bytes(int64_t B, int64_t L) {
    return B * blocks_of(L, kBlockTokens - 1) * static_cast<int64_t>(sizeof(TokenLoss));
}

void cross_entropy(ThreadPool& pool, const CrossEntropyRows& rows, View<double, 1> sums, void* scratch) {
    const int64_t B = rows.logits.shape[0], L = rows.logits.shape[1], V = rows.logits.shape[2], t0 = rows.t0;
    const int64_t n_blocks = blocks_of(L, t0), first = t0 / kBlockTokens;
    const int64_t group = std::clamp<int64_t>(kGroupElements / V, 1, kBlockTokens);
    auto* block_loss = static_cast<TokenLoss*>(scratch);
    const auto run = HWY_DYNAMIC_DISPATCH(add_loss);
    pool.run(B * n_blocks, [&](int64_t task) {
        const int64_t b = task / n_blocks, block = first + task % n_blocks;
        const int64_t end = std::min(L, (block + 1) * kBlockTokens - t0);
        TokenLoss total;
        for (int64_t t = std::max<int64_t>(0, block * kBlockTokens - t0); t < end; t += group)
            run(rows, b, t, std::min(end, t + group), total);
        block_loss[task] = total;
    });
    TokenLoss all;
    for (int64_t b = 0; b < B; ++b) {
        TokenLoss chunk;
        for (int64_t i = 0; i < n_blocks; ++i) {
            chunk.add(block_loss[b * n_blocks + i]);
            if ((first + i + 1) % kBlocksPerChunk != 0 && i + 1 < n_blocks) continue;
            all.add(chunk);
            chunk = {};
        }
    }
    sums(0) = all.loss;
    sums(1) = all.weight;
}

}  // namespace adder::cpu
#endif
