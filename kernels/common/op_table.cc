#include "kernels/common/op_table.h"

#include "kernels/adamw/adamw_cases.h"
#include "kernels/cross_entropy/cross_entropy_cases.h"
#include "kernels/gated_norm/gated_norm_cases.h"
#include "kernels/grad_norm/grad_norm_cases.h"
#include "kernels/norm/norm_cases.h"

namespace adder {

namespace {

constexpr OpEntry kOps[] = {
    {"norm", op_cases<NormProblem>},
    {"gated_norm", op_cases<GatedNormProblem>},
    {"cross_entropy", op_cases<CrossEntropyProblem>},
    {"adamw", op_cases<AdamWProblem>},
    {"grad_norm", op_cases<GradNormProblem>},
};

}  // namespace

std::span<const OpEntry> all_ops() {
    return kOps;
}

}  // namespace adder
