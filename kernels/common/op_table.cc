#include "kernels/common/op_table.h"

#include "kernels/adamw/adamw_cases.h"
#include "kernels/batch/unpack_batch_cases.h"
#include "kernels/conv1d/conv1d_cases.h"
#include "kernels/cross_entropy/cross_entropy_cases.h"
#include "kernels/embedding/embedding_cases.h"
#include "kernels/gated_norm/gated_norm_cases.h"
#include "kernels/gemm/gemm_cases.h"
#include "kernels/grad_norm/grad_norm_cases.h"
#include "kernels/norm/norm_cases.h"
#include "kernels/pool/pool_cases.h"
#include "kernels/projection_step/projection_step_cases.h"
#include "kernels/sample/sample_cases.h"
#include "kernels/scan/scan_cases.h"
#include "kernels/scan/scan_step_cases.h"
#include "kernels/shift/group_starts_cases.h"
#include "kernels/shift/shift_cases.h"
#include "kernels/ssd/ssd_cases.h"

namespace adder {

namespace {

constexpr OpEntry kOps[] = {
    {"conv1d", op_cases<Conv1dProblem>},
    {"embedding", op_cases<EmbeddingProblem>},
    {"gemm", op_cases<LinearProblem>},
    {"norm", op_cases<NormProblem>},
    {"pool", op_cases<PoolProblem>},
    {"scan", op_cases<ScanProblem>},
    {"scan_step_low_rank", op_cases<LowRankStepProblem>},
    {"ssd", op_cases<SsdCases>},
    {"gated_norm", op_cases<GatedNormProblem>},
    {"cross_entropy", op_cases<CrossEntropyProblem>},
    {"adamw", op_cases<AdamWProblem>},
    {"grad_norm", op_cases<GradNormProblem>},
    {"in_proj_step", op_cases<InProjStepProblem>},
    {"out_proj_step", op_cases<OutProjStepProblem>},
    {"sample", op_cases<SampleProblem>},
    {"shift", op_cases<ShiftProblem>},
    {"group_starts", op_cases<GroupStartsProblem>},
    {"unpack_batch", op_cases<UnpackBatchProblem>},
};

}  // namespace

std::span<const OpEntry> all_ops() {
    return kOps;
}

}  // namespace adder
