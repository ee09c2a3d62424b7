// The CUDA twin of unpack_batch.
#pragma once
#include "kernels/batch/unpack_batch.h"

namespace adder::cuda {

void unpack_batch(Ctx& ctx, const PackedBatch& batch, int64_t t0, const TokenTile& out);

}  // namespace adder::cuda
