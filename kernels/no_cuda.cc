// Stands in for the .cu files in a build without CUDA: the ops' CUDA twins, none of which can be reached, since there is
// no Gpu to run them on.
#include "core/error.h"
#include "kernels/adamw/adamw_cuda.h"
#include "kernels/batch/unpack_batch_cuda.h"
#include "kernels/common/op_fill.h"
#include "kernels/conv1d/conv1d_cuda.h"
#include "kernels/cross_entropy/cross_entropy_cuda.h"
#include "kernels/embedding/embedding_cuda.h"
#include "kernels/gated_norm/gated_norm_cuda.h"
#include "kernels/gemm/gemm_cuda.h"
#include "kernels/grad_norm/grad_norm_cuda.h"
#include "kernels/norm/norm_cuda.h"
#include "kernels/pool/pool_cuda.h"
#include "kernels/projection_step/projection_step_cuda.h"
#include "kernels/sample/sample_cuda.h"
#include "kernels/shift/shift_cuda.h"
#include "kernels/scan/scan_cuda.h"
#include "kernels/ssd/ssd_cuda.h"

namespace adder::cuda {

[[noreturn, maybe_unused]] static void no_cuda() { fail("this build has no CUDA kernels; hint: ./adder.sh build cuda, or pass --device cpu"); }

// common
void fill(Gpu&, const TensorRef&, const FillRule&, int64_t) { no_cuda(); }

// adamw
void adamw(Ctx&, const AdamWCall&, const AdamWArgs&) { no_cuda(); }
void begin_update(Ctx&, const AdamWArgs&, double, const UpdatePlaces&) { no_cuda(); }

// batch

void unpack_batch(Ctx&, const PackedBatch&, int64_t, const TokenTile&) { no_cuda(); }

// conv1d
int64_t conv1d_forward_scratch_bytes(int64_t, int64_t, int64_t, int64_t) { no_cuda(); }
void conv1d_forward(Ctx&, const Conv1dArgs&, const TensorRef&, const TensorRef&, void*) { no_cuda(); }
int64_t conv1d_backward_scratch_bytes(int64_t, int64_t, int64_t, int64_t) { no_cuda(); }
void conv1d_backward(Ctx&, const Conv1dArgs&, const Conv1dGrads&, void*) { no_cuda(); }
void conv1d_step(Ctx&, const Conv1dArgs&, const TensorRef&, const TensorRef&) { no_cuda(); }

// cross_entropy
int64_t cross_entropy_scratch_bytes(int64_t, int64_t, int64_t) { no_cuda(); }
void cross_entropy(Ctx&, const CrossEntropyArgs&, const CrossEntropyOut&, void*) { no_cuda(); }

// embedding
void embedding_forward(Ctx&, const TensorRef&, const TensorRef&, const TensorRef&) { no_cuda(); }
int64_t embedding_backward_scratch_bytes(int64_t, int64_t, int64_t, int64_t) { no_cuda(); }
void embedding_backward(Ctx&, const TensorRef&, const TensorRef&, const TensorRef&, void*) { no_cuda(); }

// gated_norm
void gated_norm_forward(Ctx&, const GatedNormArgs&, const TensorRef&) { no_cuda(); }
int64_t gated_norm_backward_scratch_bytes(const GatedNormArgs&) { no_cuda(); }
void gated_norm_backward(Ctx&, const GatedNormArgs&, const GatedNormGrads&, void*) { no_cuda(); }

// gemm
void linear_forward(Ctx&, const LinearArgs&, const TensorRef&, void*) { no_cuda(); }
void linear_backward_input(Ctx&, const LinearArgs&, const TensorRef&, const TensorRef&, bool, void*) { no_cuda(); }
void linear_backward_weight(Ctx&, const LinearArgs&, const TensorRef&, const TensorRef&, const TensorRef&, void*) {
    no_cuda();
}
void linear_step(Ctx&, const LinearArgs&, const TensorRef&) { no_cuda(); }

// grad_norm
void grad_norm(Ctx&, void*, const GradNormLayout&, GradNorm*) { no_cuda(); }

// norm
void add_norm_forward(Ctx&, const AddNormArgs&, const TensorRef&, const TensorRef&) { no_cuda(); }
int64_t add_norm_backward_scratch_bytes(int64_t, int64_t, int64_t) { no_cuda(); }
void add_norm_backward(Ctx&, const AddNormArgs&, const AddNormGrads&, void*) { no_cuda(); }

// pool
int64_t pool_scratch_bytes(int64_t, int64_t, int64_t, PoolKind) { no_cuda(); }
void pool_forward(Ctx&, const PoolArgs&, const TensorRef&, const TensorRef&, void*) { no_cuda(); }
void pool_backward(Ctx&, const PoolArgs&, const TensorRef&, const PoolGrads&, void*) { no_cuda(); }

// projection_step
void add_to_stream(Ctx&, const TensorRef&, const TensorRef&, const StepStream&) { no_cuda(); }
void in_proj_step(Ctx&, const InProjArgs&, const InProjOut&) { no_cuda(); }
void out_proj_step(Ctx&, const OutProjArgs&, const StepEnd&, const WeighedRows&) { no_cuda(); }

// sample
void sample(Ctx&, const SampleArgs&, const SampleRows&, void*) { no_cuda(); }

// scan
int64_t scan_forward_scratch_bytes(const ScanArgs&) { no_cuda(); }
void scan_forward(Ctx&, const ScanArgs&, const ScanOut&, void*) { no_cuda(); }
int64_t scan_backward_scratch_bytes(const ScanArgs&) { no_cuda(); }
void scan_backward(Ctx&, const ScanArgs&, const TensorRef&, const ScanGrads&, void*) { no_cuda(); }
void scan_step(Ctx&, const ScanArgs&, const TensorRef&, const TensorRef&) { no_cuda(); }
bool scan_step_low_rank_fits(const ScanArgs&, const LowRankStep&, const TensorRef&) { no_cuda(); }
void scan_step_low_rank(Ctx&, const ScanArgs&, const LowRankStep&, const TensorRef&, const TensorRef&) { no_cuda(); }

// shift
void shift_forward(Ctx&, const ShiftArgs&, const TensorRef&, const TensorRef&) { no_cuda(); }
void shift_backward(Ctx&, const TensorRef&, const TensorRef&, const TensorRef&, const TensorRef&) { no_cuda(); }
void group_starts(Ctx&, const TensorRef&, int64_t, const TensorRef&) { no_cuda(); }

// ssd
bool ssd_tensor_fits() { return true; }
int64_t ssd_forward_scratch_bytes(const SsdArgs&, const SsdOut&) { no_cuda(); }
void ssd_forward(Ctx&, const SsdArgs&, const SsdOut&, void*) { no_cuda(); }
int64_t ssd_backward_scratch_bytes(const SsdArgs&) { no_cuda(); }
void ssd_backward(Ctx&, const SsdArgs&, const TensorRef&, const SsdGrads&, void*) { no_cuda(); }
void ssd_step(Ctx&, const SsdArgs&, const TensorRef&, const TensorRef&, bool) { no_cuda(); }

}  // namespace adder::cuda
