// The backward kernels with few threads: for every call on a GPU with little shared memory.
#include "kernels/scan/scan_backward_walk.cuh"

namespace adder::cuda::scan {

template void launch_walk_backward<float, true, false, kFewThreads>(cudaStream_t, const Backward<float>&,
                                                                    const Lanes&);
template void launch_walk_backward<bf16, true, false, kFewThreads>(cudaStream_t, const Backward<bf16>&,
                                                                   const Lanes&);

}  // namespace adder::cuda::scan
