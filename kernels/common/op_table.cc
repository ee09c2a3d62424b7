#include "kernels/common/op_table.h"

#include "kernels/conv1d/conv1d_cases.h"
#include "kernels/gemm/gemm_cases.h"
#include "kernels/norm/norm_cases.h"

namespace adder {

namespace {

constexpr OpEntry kOps[] = {
    {"conv1d", op_cases<Conv1dProblem>},
    {"gemm", op_cases<LinearProblem>},
    {"norm", op_cases<NormProblem>},
};

}  // namespace

std::span<const OpEntry> all_ops() {
    return kOps;
}

}  // namespace adder
