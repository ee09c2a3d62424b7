// What compute capability 9.0 has and older GPUs have not: a kernel may begin beside the end of the one before it in the
// stream (launch_early in launch.cuh, which asks for it when it runs). Elsewhere these do nothing, and kernels begin one
// after the other. Source: CUDA C++ Programming Guide, programmatic dependent launch; PTX ISA, griddepcontrol.
#pragma once

namespace adder::cuda {

// Until everything that the stream was given before this kernel is done and can be seen.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;\n" ::: "memory");
#endif
}
// The next kernel may start now, as far as this thread is concerned; what it waits for is the end of this one.
__device__ __forceinline__ void release_next() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
#endif
}

}  // namespace adder::cuda
