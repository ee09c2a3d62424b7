// Stands in for the .cu files in a build without CUDA: the ops' CUDA twins, none of which can be reached, since there is
// no Gpu to run them on.
#include "core/error.h"
#include "kernels/scan/scan_cuda.h"
#include "kernels/ssd/ssd_cuda.h"

namespace adder::cuda {

[[noreturn, maybe_unused]] static void no_cuda() { fail("this build has no CUDA kernels; hint: ./adder.sh build cuda, or pass --device cpu"); }

// adamw

// conv1d

// cross_entropy

// embedding

// gated_norm

// gemm

// grad_norm

// norm

// sample

// scan
int64_t scan_forward_scratch_bytes(const ScanArgs&) { no_cuda(); }
void scan_forward(Ctx&, const ScanArgs&, const ScanOut&, void*) { no_cuda(); }
int64_t scan_backward_scratch_bytes(const ScanArgs&) { no_cuda(); }
void scan_backward(Ctx&, const ScanArgs&, const TensorRef&, const ScanGrads&, void*) { no_cuda(); }
void scan_step(Ctx&, const ScanArgs&, const TensorRef&, const TensorRef&) { no_cuda(); }

// ssd
int64_t ssd_forward_scratch_bytes(const SsdArgs&, const SsdOut&) { no_cuda(); }
void ssd_forward(Ctx&, const SsdArgs&, const SsdOut&, void*) { no_cuda(); }
int64_t ssd_backward_scratch_bytes(const SsdArgs&) { no_cuda(); }
void ssd_backward(Ctx&, const SsdArgs&, const TensorRef&, const SsdGrads&, void*) { no_cuda(); }
void ssd_step(Ctx&, const SsdArgs&, const TensorRef&, const TensorRef&) { no_cuda(); }

}  // namespace adder::cuda
