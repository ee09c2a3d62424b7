// One step of a mixer's projections together with what stands beside them, so that a step of generation takes
// few kernels.
//
//   in_proj_step    r = residual + x,  y = W rmsnorm(r)   (norm.h);  columns [first, first + C) of y then go
//   through one step
//                   of a causal convolution with SiLU (conv1d.h)
//   out_proj_step   y = W gated_norm(x, z)                (gated_norm.h)
//
// A row's bits depend on nothing outside the row. On a GPU parameters are read before the kernels before have
// ended: none of them may write those. Source: the order of operations in the step of state-spaces/mamba (Gu
// & Dao 2023, arXiv 2312.00752, figure 3; Dao & Gu 2024, arXiv 2405.21060, figure 6).
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"
#include "kernels/gated_norm/gated_norm.h"
#include "kernels/norm/norm.h"

namespace adder {

// "S" is the accumulation type of the storage type. Any row strides; innermost stride 1.
struct InProjArgs {
    AddNormArgs norm;       // of (B,1,M); without a weight there is no norm: x itself enters the product
    TensorRef weight;       // (O,M) storage
    TensorRef conv_weight;  // (C,K) S, K from 2 to 8
    TensorRef conv_bias;    // (C) S; absent = none
    TensorRef halo;         // (B,K-1,C) S: the rows before
    int64_t first = 0;      // the first column that is convolved
    // The op before is a linear_step, out_proj_step or embedding that follows others, and halo was there
    // before those: it may be read before they have ended.
    bool settled = false;
};

struct InProjOut {
    TensorRef
        residual_out;    // (B,1,M) S, present exactly where there is a norm; must not overlap norm.residual
    TensorRef halo_out;  // (B,K-1,C) S; may be args.halo itself
    TensorRef y;         // (B,1,O) storage
};

// Throws Error naming the argument, the expected and the given shape.
void in_proj_step(Ctx& ctx, const InProjArgs& args, const InProjOut& out);

// norm of (B,1,D), weight (M,D) storage, y (B,1,M) storage.
void out_proj_step(Ctx& ctx, const GatedNormArgs& norm, const TensorRef& weight, const TensorRef& y);

}  // namespace adder
