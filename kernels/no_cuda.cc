// Stands in for the .cu files in a build without CUDA: the ops' CUDA twins, none of which can be reached, since there is
// no Gpu to run them on.
#include "core/error.h"
#include "kernels/batch/unpack_batch_cuda.h"

namespace adder::cuda {

[[noreturn, maybe_unused]] static void no_cuda() { fail("this build has no CUDA kernels; hint: ./adder.sh build cuda, or pass --device cpu"); }

// adamw

// batch

void unpack_batch(Ctx&, const PackedBatch&, int64_t, const TokenTile&) { no_cuda(); }

// conv1d

// cross_entropy

// embedding

// gated_norm

// gemm

// grad_norm

// norm

// sample

// scan

// ssd

}  // namespace adder::cuda
