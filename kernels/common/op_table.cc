#include "kernels/common/op_table.h"

#include "kernels/norm/norm_cases.h"

namespace adder {

namespace {

constexpr OpEntry kOps[] = {
    {"norm", op_cases<NormProblem>},
};

}  // namespace

std::span<const OpEntry> all_ops() {
    return kOps;
}

}  // namespace adder
