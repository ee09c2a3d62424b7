#include "kernels/common/op_table.h"

#include "kernels/norm/norm_cases.h"
#include "kernels/scan/scan_cases.h"
#include "kernels/ssd/ssd_cases.h"

namespace adder {

namespace {

constexpr OpEntry kOps[] = {
    {"norm", op_cases<NormProblem>},
    {"scan", op_cases<ScanProblem>},
    {"ssd", op_cases<SsdCases>},
};

}  // namespace

std::span<const OpEntry> all_ops() {
    return kOps;
}

}  // namespace adder
