// Token embedding: y[b,t] = weight[ids[b,t]].
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

// ids (B,L) u16, every id < V; weight (V,M) storage; y (B,L,M) storage. Throws Error naming the first id >= V
// and its place.
void embedding_forward(Ctx& ctx, const TensorRef& ids, const TensorRef& weight, const TensorRef& y);
// d_weight (V,M) S, += ; d_y (B,L,M) of any row strides, storage or S. Sums over time are cut at absolute
// multiples of 1,024 (t0 is the absolute position of the first row) and added in one order.
void embedding_backward(Ctx& ctx, const TensorRef& ids, const TensorRef& d_y, int64_t t0,
                        const TensorRef& d_weight);

}  // namespace adder
