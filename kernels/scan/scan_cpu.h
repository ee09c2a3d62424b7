// The selective scan on the CPU in f32: SIMD with run-time dispatch, threads. Arguments are checked by the
// caller.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/ceil_div.h"
#include "kernels/scan/scan.h"

namespace adder::cpu {

// The sizes of one call.
struct ScanSizes {
    int64_t B, L, D, N;
};

// Channels of one task: a multiple of 16, decided by D alone, so that results do not depend on the threads.
// At least four tasks from D = 64 on, and wide enough that rows of memory are read in runs.
inline constexpr int64_t kScanMaxGroupWidth = 64;
constexpr int64_t scan_group_width(int64_t D) {
    const int64_t quarter = ((D + 3) / 4 + 15) / 16 * 16;
    return quarter < kScanMaxGroupWidth ? quarter : kScanMaxGroupWidth;
}
constexpr int64_t scan_groups(int64_t D) {
    return (D + scan_group_width(D) - 1) / scan_group_width(D);
}

// Where the tasks of backward keep what outlives a chunk, in floats from the start of scratch. Sums over
// channels (dB and dC) leave a task as one partial per group and step; time is walked in spans so that the
// partials stay below a budget.
struct ScanBackwardLayout {
    int64_t W, groups, span;
    int64_t task_floats;     // A2, inv_A2, state gradient and dA (N, W) each; dD and d_dt_bias (W) each
    int64_t partial_floats;  // dB and dC of one group in one span, (span, N) each

    explicit ScanBackwardLayout(const ScanSizes& s) : W(scan_group_width(s.D)), groups(scan_groups(s.D)) {
        constexpr int64_t kBudget = int64_t{1} << 22;
        const int64_t chunks = ceil_div(s.L, kScanChunk);
        const int64_t afford = kBudget / (s.B * groups * 2 * s.N * kScanChunk);
        span = std::min(chunks, std::max<int64_t>(afford, 1)) * kScanChunk;
        task_floats = 4 * s.N * W + 2 * W;
        partial_floats = 2 * span * s.N;
    }
};

// Bytes of scratch, from the sizes alone.
int64_t scan_forward_scratch_bytes(const ScanSizes& sizes);
int64_t scan_backward_scratch_bytes(const ScanSizes& sizes);

void scan_forward(ThreadPool& pool, const ScanArgs& args, const ScanOut& out, float* scratch);
void scan_backward(ThreadPool& pool, const ScanArgs& args, const TensorRef& chunk_states,
                   const ScanGrads& grads, float* scratch);
void scan_step(ThreadPool& pool, const ScanArgs& args, const TensorRef& h, const TensorRef& y);

}  // namespace adder::cpu
