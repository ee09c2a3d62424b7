// Timing of an op's cases, and of its reference in float on the same numbers.
#pragma once
#include "kernels/common/op_case.h"
#include "kernels/common/run_op.h"

namespace adder {

struct OpTime {
    double best_ms = 0, median_ms = 0;  // of 7 runs; 0 = not measured
};

struct OpTiming {
    OpCost cost_forward, cost_backward;    // summed over the public calls of the pass
    OpTime forward, backward;              // the public op in f32
    OpTime ref_forward, ref_backward;      // the reference as the library is built
    OpTime plain_forward, plain_backward;  // the reference with -fno-tree-vectorize
};

// Runs in `pool`; the reference is single-threaded. Allocates its own memory.
OpTiming time_case(const OpCase& c, ThreadPool& pool);

}  // namespace adder
