// Running pools: at every position the mean, the maximum or the last of all positions of its member so far, so that the
// pool of a member stands at its last position, wherever tiles were cut.
//
//   n[t] = positions of the member up to t           (counted on from the state)
//   mean: z[t] = (n_0 z_0 + sum over the member's y up to t) / n[t]
//   max:  z[t] = max over the member's y up to t; the first of equal ones has the gradient; a NaN stays
//   last: z[t] = y[t]
//
// A start at t begins a member; the state carries the open one over a border: its pool z_0 and its length n_0. The length
// is exact up to 2^24 positions; beyond, it is rounded to S once a tile, a relative error below 1e-6.
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"
#include "kernels/common/pool_kind.h"

namespace adder {

// "S" is the accumulation type of the storage type. Any row strides; innermost stride 1.
struct PoolArgs {
    TensorRef y;      // (B,L,M) storage
    TensorRef start;  // (B,L) u8       absent = no starts
    TensorRef state;  // (B,M+1) S      z_0, then n_0; absent, or n_0 = 0, = no open member
    PoolKind kind = PoolKind::mean;
};

struct PoolGrads {
    TensorRef d_z;      // (B,L,M) S, in
    TensorRef d_y;      // (B,L,M) storage, =
    TensorRef d_state;  // (B,M+1) S: gradient of state_out on entry (the length's is not read), of state on return (the
                        // length's is 0); absent = zero, not wanted
};

// z (B,L,M) S, absent = not wanted; state_out (B,M+1) S, may be args.state itself, absent = not wanted. Sums are f64.
void pool_forward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const TensorRef& state_out);
// `z` as forward gave it: read by max alone, else it may be absent.
void pool_backward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const PoolGrads& grads);

}  // namespace adder
