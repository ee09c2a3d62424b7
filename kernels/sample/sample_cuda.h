// The CUDA twin of sample_ref.h.
#pragma once
#include "kernels/sample/sample.h"

namespace adder::cuda {

// 0 where a row's ranking fits into shared memory.
int64_t sample_scratch_bytes(int64_t B, int64_t V);
// Arguments checked.
void sample(Ctx& ctx, const SampleArgs& args, const SampleRows& rows, void* scratch);

}  // namespace adder::cuda
