// Causal depthwise convolution with optional SiLU.
//
//   pre[t,d] = bias[d] + sum over k < K of weight[d,k] x[t-(K-1)+k, d]       y = silu(pre) or pre
//
// Rows before t = 0 come from the halo: the last K-1 inputs of what came before, oldest first. A start at t
// cuts every tap that reaches back past t; the halo that is handed on holds zeros where a start has cut. L <
// K-1 is legal: old halo rows move up. Source: the short convolution of arXiv 2312.00752, section 3.4; layout
// of weight as PyTorch's conv1d.
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

// "S" is the accumulation type of the storage type. Any row strides; innermost stride 1.
struct Conv1dArgs {
    TensorRef x;       // (B,L,D) storage
    TensorRef weight;  // (D,K) S        K from 2 to 8
    TensorRef bias;    // (D) S          absent = none
    TensorRef start;   // (B,L) u8       absent = no starts
    TensorRef halo;    // (B,K-1,D) S    absent = zeros
    bool silu = true;
};

struct Conv1dGrads {
    TensorRef d_y;       // (B,L,D) storage, in
    TensorRef d_x;       // (B,L,D) storage, =
    TensorRef d_weight;  // (D,K) S, +=
    TensorRef d_bias;    // (D) S, +=; present exactly when bias is
    TensorRef
        d_halo;  // (B,K-1,D) S: gradient of halo_out on entry, of halo on return; absent = zero, not wanted
};

// y (B,L,D) storage must not overlap x. halo_out (B,K-1,D) S may be args.halo itself; absent = not wanted.
void conv1d_forward(Ctx& ctx, const Conv1dArgs& args, const TensorRef& y, const TensorRef& halo_out);
// Recomputes the pre-activation from x and halo, so nothing is saved by forward. d_x must not overlap d_y.
void conv1d_backward(Ctx& ctx, const Conv1dArgs& args, const Conv1dGrads& grads);
// One step for each of B independent rows: L = 1; `halo` (B,K-1,D) is updated in place.
void conv1d_step(Ctx& ctx, const Conv1dArgs& args, const TensorRef& halo, const TensorRef& y);

}  // namespace adder
