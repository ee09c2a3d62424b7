// The CUDA twin of conv1d_ref.h.
#pragma once
#include "kernels/conv1d/conv1d.h"

namespace adder::cuda {

int64_t conv1d_forward_scratch_bytes(int64_t B, int64_t L, int64_t D, int64_t K);
void conv1d_forward(Ctx& ctx, const Conv1dArgs& args, const TensorRef& y, const TensorRef& halo_out, void* scratch);

int64_t conv1d_backward_scratch_bytes(int64_t B, int64_t L, int64_t D, int64_t K);
void conv1d_backward(Ctx& ctx, const Conv1dArgs& args, const Conv1dGrads& grads, void* scratch);

// args.halo is not read.
void conv1d_step(Ctx& ctx, const Conv1dArgs& args, const TensorRef& halo, const TensorRef& y);

}  // namespace adder::cuda
