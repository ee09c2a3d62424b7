// The CUDA twin of scan.h: storage f32 or bf16, everything called "S" there f32. Arguments have been checked.
// Scratch bytes follow from the shapes and most_shared_bytes(); scratch is aligned to 64 bytes.
#pragma once
#include <cstdint>

#include "kernels/scan/scan.h"

namespace adder::cuda {

// States at the borders of the segments that time is cut into, 4 B segments D (N + 1) bytes: tens of MB at
// most, and none where B D alone fills a GPU.
int64_t scan_forward_scratch_bytes(const ScanArgs& args);
void scan_forward(Ctx& ctx, const ScanArgs& args, const ScanOut& out, void* scratch);

// As forward, and f32 sums of d_B and d_C over the 128 channels of a block (64 at N = 32, 32 at 64, 8 at
// 128, 4 at 256): 8 B L N D / 128 bytes, and partial parameter gradients, 4 B segments D (N + 2).
int64_t scan_backward_scratch_bytes(const ScanArgs& args);
void scan_backward(Ctx& ctx, const ScanArgs& args, const TensorRef& chunk_states, const ScanGrads& grads,
                   void* scratch);

// `h` (B,D,N) f32 is updated in place.
void scan_step(Ctx& ctx, const ScanArgs& args, const TensorRef& h, const TensorRef& y);

// Whether scan_step_low_rank takes these: bf16, N = 16, R to 64, aligned rows; null data counts as aligned.
bool scan_step_low_rank_fits(const ScanArgs& args, const LowRankStep& dt, const TensorRef& hT);
void scan_step_low_rank(Ctx& ctx, const ScanArgs& args, const LowRankStep& dt, const TensorRef& hT, const TensorRef& y);

}  // namespace adder::cuda
