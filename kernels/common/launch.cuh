// Starting kernels. Every launch goes through `launch`, which checks it.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "core/ceil_div.h"
#include "core/device.h"
#include "core/error.h"
#include "kernels/common/hopper.cuh"
#include "kernels/common/shared_memory.h"

namespace adder::cuda {

inline void check(cudaError_t code, const char* what) {
    if (code == cudaSuccess) return;
    if (code == cudaErrorMemoryAllocation) out_of_gpu_memory(what);
    fail<DeviceError>("CUDA: {}: {} ({})", what, cudaGetErrorString(code), cudaGetErrorName(code));
}

// Static shared memory that a kernel may use without asking; more is dynamic.
inline constexpr size_t kDefaultSharedBytes = 48 * 1024;

// What both ways of starting a kernel have in common. `early`: while the kernel before it in the stream still runs.
template <class... P, class... A>
void launch_as(bool early, cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(P...),
               const A&... args) {
    if (shared_bytes > kDefaultSharedBytes) {
        expect_shared_bytes(shared_bytes);
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared_bytes)),
              "asking for shared memory");
    }
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = early ? 1 : 0;
    check(cudaLaunchKernelEx(&config, kernel, P(args)...), "starting a kernel");
}

// Blocks along x, which alone may be as many as time needs (2^31 - 1); y and z up to 65,535.
template <class... P, class... A>
void launch(cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(P...), const A&... args) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    launch_as(false, stream, grid, block, shared_bytes, kernel, args...);
}

// As launch, for short kernels in a row: the kernel may start while the one before it in the stream still runs, so that
// the time of starting it is hidden. It must call wait_for_previous() (hopper.cuh) before it reads anything that may
// still be written, and before it writes. Where the kernel was compiled for a GPU without that instruction it starts as usual.
template <class... P, class... A>
void launch_early(cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(P...), const A&... args) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    cudaFuncAttributes compiled{};
    check(cudaFuncGetAttributes(&compiled, reinterpret_cast<const void*>(kernel)), "reading a kernel's attributes");
    launch_as(compiled.ptxVersion >= 90, stream, grid, block, shared_bytes, kernel, args...);
}

// For grid.x; throws when there are too many blocks.
inline unsigned blocks(int64_t n) {
    if (n > 0x7fffffff) fail("CUDA: {} blocks are more than a launch can have", n);
    return static_cast<unsigned>(n);
}

// The block's dynamic shared memory, aligned to 128 bytes.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
    extern __shared__ __align__(128) unsigned char adder_shared[];
    return reinterpret_cast<T*>(adder_shared);
}

}  // namespace adder::cuda
