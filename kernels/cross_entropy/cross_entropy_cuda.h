// The CUDA twin of cross_entropy_ref.h.
#pragma once
#include "kernels/cross_entropy/cross_entropy.h"

namespace adder::cuda {

int64_t cross_entropy_scratch_bytes(int64_t B, int64_t L, int64_t V);
// A target outside the vocabulary where the weight is not 0 becomes Fault::target and counts as weight 0, a weight below
// 0 becomes Fault::weight.
void cross_entropy(Ctx& ctx, const CrossEntropyArgs& args, const CrossEntropyOut& out, void* scratch);

}  // namespace adder::cuda
