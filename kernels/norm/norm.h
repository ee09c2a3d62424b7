// Residual add and RMSNorm in one pass.
//
//   r = residual + x          y = r * rsqrt(mean over M of r^2 + eps) * weight
//
// Source: the pre-norm block order add -> norm -> mixer of state-spaces/mamba; RMSNorm: Zhang & Sennrich 2019
// (arXiv 1910.07467), section 4.
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

// "S" is the accumulation type of the storage type. Any row strides; innermost stride 1.
struct AddNormArgs {
    TensorRef x;         // (B,L,M) storage   the last mixer's output
    TensorRef residual;  // (B,L,M) S         absent = zero
    TensorRef weight;    // (M) S
    float eps = 1e-5f;
};

// residual_out (B,L,M) S may be args.residual itself. y (B,L,M) storage.
void add_norm_forward(Ctx& ctx, const AddNormArgs& args, const TensorRef& residual_out, const TensorRef& y);
// `residual_out` as forward wrote it (args.x and args.residual are not read and may be absent). d_residual (B,L,M) S
// holds the gradient of residual_out on entry and the gradient of both x and residual on return: the residual stream is
// the one activation whose gradient accumulates. d_weight (M) S, +=. d_x (B,L,M) bf16, contiguous, only where storage is bf16:
// receives what d_residual holds on return, rounded, for the mixer that x came from; absent = not wanted.
void add_norm_backward(Ctx& ctx, const AddNormArgs& args, const TensorRef& residual_out, const TensorRef& d_y,
                       const TensorRef& d_residual, const TensorRef& d_weight, const TensorRef& d_x = {});

}  // namespace adder
