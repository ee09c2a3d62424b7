// The CUDA twin of gated_norm_ref.h.
#pragma once
#include "kernels/gated_norm/gated_norm.h"

namespace adder::cuda {

// The arguments of gated_norm_backward behind GatedNormArgs.
struct GatedNormGrads {
    TensorRef d_y, d_x, d_z, d_weight;
};

void gated_norm_forward(Ctx& ctx, const GatedNormArgs& args, const TensorRef& y);

int64_t gated_norm_backward_scratch_bytes(const GatedNormArgs& args);
void gated_norm_backward(Ctx& ctx, const GatedNormArgs& args, const GatedNormGrads& grads, void* scratch);

}  // namespace adder::cuda
