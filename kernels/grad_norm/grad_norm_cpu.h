// The SIMD twin of grad_norm_ref.h.
#pragma once
#include <span>

#include "core/threads.h"
#include "kernels/grad_norm/grad_norm.h"

namespace adder::cpu {

int64_t grad_norm_scratch_bytes(int64_t total_elements);
GradNorm grad_norm(ThreadPool& pool, std::span<const TensorRef> tensors, void* scratch);

}  // namespace adder::cpu
