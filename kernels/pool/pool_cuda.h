// The CUDA twin of pool_ref.h.
#pragma once
#include "kernels/pool/pool.h"

namespace adder::cuda {

int64_t pool_scratch_bytes(int64_t B, int64_t L, int64_t M, PoolKind kind);
void pool_forward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const TensorRef& state_out, void* scratch);
void pool_backward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const PoolGrads& grads, void* scratch);

}  // namespace adder::cuda
