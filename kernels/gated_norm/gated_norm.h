// Gated RMSNorm (Mamba-2): the gate acts before the norm.
//
//   g = x * silu(z)      y = g * rsqrt(mean over the row's group of g^2 + eps) * weight
//
// Groups are D/G neighbouring channels. Source: Dao & Gu 2024 (arXiv 2405.21060), section 7.2 (figure 6: the
// norm before the output projection); norm_before_gate = False of state-spaces/mamba.
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

// "S" is the accumulation type of the storage type. Any row strides; innermost stride 1.
struct GatedNormArgs {
    TensorRef x;       // (B,L,D) storage
    TensorRef z;       // (B,L,D) storage
    TensorRef weight;  // (D) S
    int64_t G = 1;     // groups; divides D
    float eps = 1e-5f;
};

// y (B,L,D) storage; may be args.x itself when the inputs are not needed afterwards.
void gated_norm_forward(Ctx& ctx, const GatedNormArgs& args, const TensorRef& y);
// d_x, d_z (B,L,D) storage, =; d_weight (D) S, +=. d_x may be d_y itself; d_z overlaps no input.
void gated_norm_backward(Ctx& ctx, const GatedNormArgs& args, const TensorRef& d_y, const TensorRef& d_x,
                         const TensorRef& d_z, const TensorRef& d_weight);

}  // namespace adder
