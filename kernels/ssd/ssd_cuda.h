// The CUDA twin of ssd.h: storage f32 or bf16, everything called "S" there f32.
// Arguments have been checked. Scratch bytes follow from the shapes and most_shared_bytes(); scratch is aligned to 64
// bytes.
#pragma once
#include <cstdint>

#include "kernels/ssd/ssd.h"

namespace adder::cuda {

// Whether a block may have the shared memory that the tensor core kernels of both directions take.
bool ssd_tensor_fits();

int64_t ssd_forward_scratch_bytes(const SsdArgs& args, const SsdOut& out);
void ssd_forward(Ctx& ctx, const SsdArgs& args, const SsdOut& out, void* scratch);

int64_t ssd_backward_scratch_bytes(const SsdArgs& args);
void ssd_backward(Ctx& ctx, const SsdArgs& args, const TensorRef& chunk_states, const SsdGrads& grads, void* scratch);

// `h` (B,H,P,N) f32 is updated in place.
void ssd_step(Ctx& ctx, const SsdArgs& args, const TensorRef& h, const TensorRef& y, bool settled);

}  // namespace adder::cuda
