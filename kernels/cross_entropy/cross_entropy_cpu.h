// The SIMD twin of cross_entropy_ref.h.
#pragma once
#include "core/threads.h"
#include "core/view.h"

namespace adder::cpu {

constexpr int64_t kBlockTokens = 64;

struct TokenLoss {
    double loss = 0, weight = 0;
    void add(const TokenLoss& other) { loss += other.loss, weight += other.weight; }
};

struct CrossEntropyRows {
    View<const float, 3> logits;
    View<const uint16_t, 2> targets;  // valid where the weight is not 0
    View<const float, 2> weights;     // null = 1
    int64_t ignore_index, t0;
    View<double, 2> nats;     // null = not wanted
    View<float, 3> d_logits;  // null = not wanted; may be logits
};

// Enough for every t0: memory is planned at one position and used at all.
int64_t cross_entropy_scratch_bytes(int64_t B, int64_t L);
// sums (2): loss, W.
void cross_entropy(ThreadPool& pool, const CrossEntropyRows& rows, View<double, 1> sums, void* scratch);

}  // namespace adder::cpu
