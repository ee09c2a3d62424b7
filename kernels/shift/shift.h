// A delay by one row, the causal shift between a coarse sequence and the finer one that hears of it.
//
//   y[0] = before          y[t] = x[t-1]          after = x[L-1]          a start at t makes y[t] zero
//
// Source: the shifted up-pooling of SaShiMi (Goel et al. 2022, arXiv 2202.09729, section 3.2).
#pragma once
#include <cstdint>

#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

// "S" is the accumulation type of the storage type. Any row strides; innermost stride 1.
struct ShiftArgs {
    TensorRef x;       // (B,L,M) storage   absent only for one step that hands nothing on: L = 1 and no `after`
    TensorRef start;   // (B,L) u8          absent = no starts
    TensorRef before;  // (B,1,M) S         absent = zeros
};

// y (B,L,M) storage must not overlap x; absent = not wanted. after (B,1,M) S may be args.before itself; absent = not wanted.
void shift_forward(Ctx& ctx, const ShiftArgs& args, const TensorRef& y, const TensorRef& after);
// d_x (B,L,M) storage, =, must not overlap d_y. d_state (B,1,M) S: gradient of `after` on entry, of `before` on return; absent
// = zero, not wanted. Of the arguments only the starts are read.
void shift_backward(Ctx& ctx, const TensorRef& start, const TensorRef& d_y, const TensorRef& d_x, const TensorRef& d_state);

// The flags of groups of `every` >= 1 steps, the last one open where they do not divide L:
//
//   groups[b,g] = start[b, g every]
//
// start (B,L) u8, any row stride; groups (B, ceil(L / every)) u8, contiguous. Members begin with a group; a flag
// elsewhere is an Error on the CPU, and not seen on a GPU.
void group_starts(Ctx& ctx, const TensorRef& start, int64_t every, const TensorRef& groups);

}  // namespace adder
