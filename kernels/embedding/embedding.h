// Token embedding: y[b,t] = weight[ids[b,t]].
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

// ids (B,L) u16, every id < V; weight (V,M) storage; y (B,L,M) storage. Throws Error naming the first id >= V
// and its place; on a GPU reports Fault::token_id instead and writes zeros there.
void embedding_forward(Ctx& ctx, const TensorRef& ids, const TensorRef& weight, const TensorRef& y);
// d_weight (V,M) S, += ; d_y (B,L,M) of any row strides, storage or S. On the CPU sums over time are cut at absolute
// multiples of 1,024 (t0 is the absolute position of the first row), on a GPU by shape; they are added in one order. An
// id >= V is an Error, on a GPU it adds to nothing: forward has reported it.
void embedding_backward(Ctx& ctx, const TensorRef& ids, const TensorRef& d_y, int64_t t0,
                        const TensorRef& d_weight);

}  // namespace adder
