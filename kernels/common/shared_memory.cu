#include "kernels/common/shared_memory.h"

#include "kernels/common/launch.cuh"

namespace adder::cuda {

namespace {

constexpr size_t kOfHopper = 227 * 1024;

size_t ask() {
    int device = 0, bytes = 0;
    if (cudaGetDevice(&device) == cudaSuccess &&
        cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) == cudaSuccess)
        return static_cast<size_t>(bytes);
    cudaGetLastError();  // an expected failure must not be found by a later check
    return kOfHopper;
}

}  // namespace

size_t shared_bytes_of_gpu() {
    static const size_t bytes = ask();  // every process has one GPU
    return bytes;
}

void expect_shared_bytes(size_t bytes) {
    if (bytes <= most_shared_bytes()) return;
    int device = 0;
    cudaDeviceProp gpu{};
    check(cudaGetDevice(&device), "finding the GPU");
    check(cudaGetDeviceProperties(&gpu, device), "reading the GPU's properties");
    fail("CUDA: a kernel needs {} bytes of shared memory for a block, the {} has {}; hint: pass --device cpu", bytes,
         gpu.name, most_shared_bytes());
}

}  // namespace adder::cuda
