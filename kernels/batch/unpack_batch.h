// Unpacking some steps of a packed batch (core/batch.h), so that layers read fixed addresses whatever tile it is.
//
//   ids[b,t] = tokens[b,t0+t]    targets[b,t] = targets[b,t0+t]    weights[b,t] = palette[flags[b,t0+t] >> 1]
//   start[b,t] = flags[b,t0+t] & 1
#pragma once
#include <cstdint>

#include "core/batch.h"
#include "core/ctx.h"

namespace adder {

// Steps [t0, t0 + T) of all rows of `batch`: tokens, targets (B,L) u8 or both u16, flags (B,L) u8, palette (128) f32.
// `out` is overwritten: ids, targets (B,T) u16, weights (B,T) f32, start (B,T) u8, all contiguous. Ids were checked
// when they were packed. Throws Error for a t0 outside [0, L), and for ids of more than the L - t0 steps that are left.
void unpack_batch(Ctx& ctx, const PackedBatch& batch, int64_t t0, const TokenTile& out);

}  // namespace adder
