// Unpacking some steps of a packed batch (core/batch.h), so that layers read fixed addresses whatever tile it is.
//
//   ids[b,t] = tokens[b,t0+t]    targets[b,t] = targets[b,t0+t]    weights[b,t] = palette[flags[b,t0+t] >> 1]
//   start[b,t] = flags[b,t0+t] & 1
#pragma once
#include <cstdint>

#include "core/batch.h"
#include "core/ctx.h"

namespace adder {

// Steps [t0, t0 + T) of all rows; `out` (B,T), contiguous, overwritten. Packed ids were checked when they were packed.
void unpack_batch(Ctx& ctx, const PackedBatch& batch, int64_t t0, const TokenTile& out);

}  // namespace adder
