// Softmax cross-entropy over the vocabulary, in nats, weighted per token.
//
//   nats[b,t] = logsumexp(logits[b,t]) - logits[b,t,target]       loss = sum of w nats       W = sum of w
//   d_logits  = w (softmax(logits) - onehot(target))              not divided by W: the optimizer does that once
//
// The effective weight is 0 where target == ignore_index, whatever weights says.
#pragma once
#include <cstdint>

#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

struct CrossEntropyArgs {
    TensorRef logits;   // (B,L,V) S
    TensorRef targets;  // (B,L) u16, < V where the weight is not 0; else Error naming the place, on a GPU Fault::target
    TensorRef weights;  // (B,L) f32, >= 0, else Error, on a GPU Fault::weight; absent = 1
    int64_t ignore_index = -1;
    // Absolute position of the first row: on the CPU sums are cut at absolute multiples of 1,024, on a GPU by shape.
    int64_t t0 = 0;
};

struct CrossEntropyOut {
    TensorRef sums;      // (2) f64: loss, W; = or, with add_sums, +=
    TensorRef nats;      // (B,L) f64, = ; 0 where the effective weight is 0; absent = not wanted
    TensorRef d_logits;  // (B,L,V) S, =; may be args.logits itself; on a GPU also bf16; absent = not wanted
    bool add_sums = false;  // the vocabulary's head runs in slices of time
};

void cross_entropy(Ctx& ctx, const CrossEntropyArgs& args, const CrossEntropyOut& out);

}  // namespace adder
