// The CPU twin of unpack_batch_ref.h.
#pragma once
#include "core/batch.h"

namespace adder::cpu {

void unpack_batch(const PackedBatch& batch, int64_t t0, const TokenTile& out);

}  // namespace adder::cpu
