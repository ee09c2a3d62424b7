// Starting the kernels of a step of generation, each of which begins while the one before it still runs.
#pragma once
#include "kernels/common/launch.cuh"

namespace adder::cuda {

// As launch_early. A multiprocessor that changes what part of its first-level cache is shared memory must be
// empty for that, which would undo the early start: all kernels of a step ask for the same.
template <class... P, class... A>
void launch_step(cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(P...),
                 const A&... args) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributePreferredSharedMemoryCarveout,
                               cudaSharedmemCarveoutMaxShared),
          "asking for a share of the cache");
    launch_early(stream, grid, block, shared_bytes, kernel, args...);
}

}  // namespace adder::cuda
