// The CUDA twin of norm_ref.h.
#pragma once
#include "kernels/norm/norm.h"

namespace adder::cuda {

// The arguments of add_norm_backward behind AddNormArgs.
struct AddNormGrads {
    TensorRef residual_out, d_y, d_residual, d_weight;
    TensorRef d_x;  // may be absent
};

void add_norm_forward(Ctx& ctx, const AddNormArgs& args, const TensorRef& residual_out, const TensorRef& y);

int64_t add_norm_backward_scratch_bytes(int64_t B, int64_t L, int64_t M);
void add_norm_backward(Ctx& ctx, const AddNormArgs& args, const AddNormGrads& grads, void* scratch);

}  // namespace adder::cuda
