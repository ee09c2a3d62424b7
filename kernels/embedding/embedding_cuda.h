// The CUDA twin of embedding_ref.h.
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"

namespace adder::cuda {

// An id >= V becomes a row of zeros and Fault::token_id.
void embedding_forward(Ctx& ctx, const TensorRef& ids, const TensorRef& weight, const TensorRef& y);

int64_t embedding_backward_scratch_bytes(int64_t B, int64_t L, int64_t V, int64_t M);
// An id >= V adds to nothing.
void embedding_backward(Ctx& ctx, const TensorRef& ids, const TensorRef& d_y, const TensorRef& d_weight, void* scratch);

}  // namespace adder::cuda
