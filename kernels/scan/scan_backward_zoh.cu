// The backward kernels that ask which discretization it is, in a file of their own for the time they take to
// compile.
#include "kernels/scan/scan_backward_walk.cuh"

namespace adder::cuda::scan {

template void launch_walk_backward<float, true, false>(cudaStream_t, const Backward<float>&, const Lanes&);
template void launch_walk_backward<bf16, true, false>(cudaStream_t, const Backward<bf16>&, const Lanes&);

}  // namespace adder::cuda::scan
