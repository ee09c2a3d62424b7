// One step of a mixer's projections together with what stands beside them, so that a step of generation takes
// few kernels.
//
//   add_to_stream   r = residual + x                      (norm.h)
//   in_proj_step    y = W rmsnorm(r);  columns [first, first + C) of y then go through one step
//                   of a causal convolution with SiLU     (conv1d.h)
//   out_proj_step   y = W x  or  W gated_norm(x, z)       (gated_norm.h);  y itself, or r += y
//
// A row's bits depend on nothing outside the row. On a GPU parameters are read before the kernels before have
// ended: none of them may write those. Source: the order of operations in the step of state-spaces/mamba (Gu
// & Dao 2023, arXiv 2312.00752, figure 3; Dao & Gu 2024, arXiv 2405.21060, figure 6).
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"
#include "kernels/gated_norm/gated_norm.h"

namespace adder {

// (B,1,width) of a step, in the context's scratch. Rows start on 16 bytes: kernels choose how to read by
// alignment, which must be that of a row alone for a row to have the same bits in any batch.
TensorRef alloc_step_rows(Ctx& ctx, DType dtype, int64_t B, int64_t width);

// "S" is the accumulation type of the storage type. Any row strides; innermost stride 1.

// The residual stream r of a step, ready for the norm that comes. A norm's scale is one number for a row and
// may as well multiply what a product makes of the row: where there are squares, who makes r weighs it and
// nobody need read it again before the product. Made by alloc_step_stream.
struct StepStream {
    TensorRef residual;  // (B,1,M) S: r
    TensorRef rows;      // (B,1,M) storage: r weight where there are squares, else rmsnorm(r)
    TensorRef squares;   // (B,1,M/8) S: the sums of r^2 over eight neighbouring columns; may be absent
    TensorRef weight;    // (M) S, of the norm
    float eps = 1e-5f;   // of the norm
};

// In the context's scratch, without a weight. Squares: in bf16 on a GPU where M is a multiple of eight.
StepStream alloc_step_stream(Ctx& ctx, DType storage, int64_t B, int64_t M);

// stream.residual = residual + x, and what belongs to it. x (B,1,M) storage; residual (B,1,M) S, absent =
// zero, may be stream.residual itself. Throws Error naming the argument, the expected and the given shape, as
// all of these do.
void add_to_stream(Ctx& ctx, const TensorRef& x, const TensorRef& residual, const StepStream& stream);

// rmsnorm(r), (B,1,M) storage: the stream's rows, or in the context's scratch.
TensorRef normed_rows(Ctx& ctx, const StepStream& stream);

struct InProjArgs {
    StepStream stream;      // without a weight there is no norm: rows (B,1,M) enter the product as they are
    TensorRef weight;       // (O,M) storage
    TensorRef conv_weight;  // (C,K) S, K from 2 to 8
    TensorRef conv_bias;    // (C) S; absent = none
    TensorRef halo;         // (B,K-1,C) S: the rows before
    int64_t first = 0;      // the first column that is convolved
    // The op before is an out_proj_step or add_to_stream that follows others, and halo was there before
    // those: it may be read before they have ended.
    bool settled = false;
};

struct InProjOut {
    TensorRef halo_out;  // (B,K-1,C) S; may be args.halo itself
    TensorRef y;         // (B,1,O) storage
};

void in_proj_step(Ctx& ctx, const InProjArgs& args, const InProjOut& out);

struct OutProjArgs {
    GatedNormArgs norm;  // of (B,1,D); without a weight there is no norm: x itself enters the product
    TensorRef weight;    // (M,D) storage
    // An in_proj_step has read the stream since it was made: the residual may be read before the kernels
    // before have ended.
    bool settled = false;
};

// Where the result goes: y (B,1,M) storage, or, where that is absent, the stream, whose residual it is added
// to and whose weight is that of the norm that comes.
struct StepEnd {
    TensorRef y;
    StepStream stream;
};

void out_proj_step(Ctx& ctx, const OutProjArgs& args, const StepEnd& to);

}  // namespace adder
