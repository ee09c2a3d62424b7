// The CUDA twin of gemm_ref.h: cuBLASLt where it takes the shapes, kernels of our own for the rest, for sums over slices of
// time and for single steps. Arguments as in gemm.h, checked; storage f32 (never TF32) or bf16.
#pragma once
#include "kernels/gemm/gemm.h"

namespace adder::cuda {

int64_t linear_forward_scratch_bytes();
void linear_forward(Ctx& ctx, const LinearArgs& args, const TensorRef& y, void* scratch);

int64_t linear_backward_input_scratch_bytes();
void linear_backward_input(Ctx& ctx, const LinearArgs& args, const TensorRef& d_y, const TensorRef& d_x, bool add,
                           void* scratch);

// Depends on shapes and strides; args and d_y may have null data.
int64_t linear_backward_weight_scratch_bytes(const LinearArgs& args, const TensorRef& d_y, bool bias);
void linear_backward_weight(Ctx& ctx, const LinearArgs& args, const TensorRef& d_y, const TensorRef& d_weight,
                            const TensorRef& d_bias, void* scratch);

void linear_step(Ctx& ctx, const LinearArgs& args, const TensorRef& y);

}  // namespace adder::cuda
