// Starting kernels. Every launch goes through `launch`, which checks it.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "core/error.h"

namespace adder::cuda {

inline void check(cudaError_t code, const char* what) {
    if (code != cudaSuccess) fail("CUDA: {}: {} ({})", what, cudaGetErrorString(code), cudaGetErrorName(code));
}

// Static shared memory that a kernel may use without asking; more is dynamic.
inline constexpr size_t kDefaultSharedBytes = 48 * 1024;

// Blocks along x, which alone may be as many as time needs (2^31 - 1); y and z up to 65,535.
template <class... P, class... A>
void launch(cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(P...), const A&... args) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    if (shared_bytes > kDefaultSharedBytes)
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared_bytes)),
              "asking for shared memory");
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    check(cudaLaunchKernelEx(&config, kernel, P(args)...), "starting a kernel");
}

// As launch, for short kernels in a row: the kernel may start while the one before it in the stream still runs, so that
// the time of starting it is hidden. It must call wait_for_previous() (mma.cuh) before it touches anything that an
// earlier kernel reads or writes. Where the kernel was compiled for a GPU without that instruction it starts as usual.
template <class... P, class... A>
void launch_early(cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(P...), const A&... args) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    cudaFuncAttributes compiled{};
    check(cudaFuncGetAttributes(&compiled, reinterpret_cast<const void*>(kernel)), "reading a kernel's attributes");
    if (compiled.ptxVersion < 90) return launch(stream, grid, block, shared_bytes, kernel, args...);
    if (shared_bytes > kDefaultSharedBytes)
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared_bytes)),
              "asking for shared memory");
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    config.attrs = &early;
    config.numAttrs = 1;
    check(cudaLaunchKernelEx(&config, kernel, P(args)...), "starting a kernel");
}

// For grid.x; throws when there are too many blocks.
inline unsigned blocks(int64_t n) {
    if (n > 0x7fffffff) fail("CUDA: {} blocks are more than a launch can have", n);
    return static_cast<unsigned>(n);
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The block's dynamic shared memory, aligned to 128 bytes.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
    extern __shared__ __align__(128) unsigned char adder_shared[];
    return reinterpret_cast<T*>(adder_shared);
}

}  // namespace adder::cuda
