// State space dual (Mamba-2): the recurrence whose decay is one scalar per head.
//
//   dt[t,h] = softplus(dt_raw[t,h] + dt_bias[h]),   A[h] = -exp(A_log[h]),   a = exp(dt A)
//   b       = dt (euler)   or   (exp(dt A) - 1)/A (zoh)
//   S[t]    = a S[t-1] + b x[t] (outer) B[t,g]        S: (P,N) per head; head h reads group g = h / (H/G)
//   y[t]    = S[t] C[t,g] + D[h] x[t]
//
// Three equal ways to compute it: the recurrence; the quadratic dual form y = (L o C B^T) x with L[i,j] =
// exp(sum over j < k <= i of dt A); and the chunked block decomposition that combines both. A start flag at t
// sets S[t-1] to zero (assigned). Source: Dao & Gu 2024 (arXiv 2405.21060), sections 5, 6, listing 1.
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"
#include "kernels/common/discretization.h"

namespace adder {

// "S" below is the accumulation type of the storage type: f32 for f32, f64 for f64. Any row strides;
// innermost stride 1; parameters and chunk_states contiguous. G divides H; N from 1 to 256.
struct SsdArgs {
    TensorRef x;        // (B,L,H*P) storage
    TensorRef dt_raw;   // (B,L,H) storage
    TensorRef A_log;    // (H) S
    TensorRef B;        // (B,L,G*N) storage
    TensorRef C;        // (B,L,G*N) storage
    TensorRef D;        // (H) S
    TensorRef dt_bias;  // (H) S
    TensorRef start;    // (B,L) u8          absent = no starts
    TensorRef h0;       // (B,H,P,N) S       state before the first step; absent = zero
    int64_t G = 1;      // groups
    int64_t N = 0;      // state size
    Discretization discretization = Discretization::euler;
};

struct SsdOut {
    TensorRef y;   // (B,L,H*P) storage; absent = only the state is wanted, the work for y is not done
    TensorRef hT;  // (B,H,P,N) S: state after the last step; may be h0 unless chunk_states is present
    TensorRef chunk_states;  // (B,chunks,H,P*N): state before every chunk, for backward; absent = not kept
};

// Activations are overwritten, parameters are added to.
struct SsdGrads {
    TensorRef d_y;                      // (B,L,H*P) storage, in
    TensorRef d_x;                      // (B,L,H*P) storage, =
    TensorRef d_dt_raw;                 // (B,L,H) storage, =
    TensorRef d_B, d_C;                 // (B,L,G*N) storage, =
    TensorRef d_A_log, d_D, d_dt_bias;  // (H) S, +=
    TensorRef d_h;  // (B,H,P,N) S: gradient of hT on entry, of h0 on return; absent = zero
};

// Steps between two kept states.
inline constexpr int64_t kSsdChunk = 64;
// S; but bf16 for heads that bf16 tensor products take in whole tiles, which would round the states anyway, on a GPU with
// the shared memory for those. Otherwise all arithmetic is in S.
DType ssd_chunk_states_dtype(DType storage, int64_t P, int64_t N);
// (B, ceil(L / kSsdChunk), H, P*N)
Shape ssd_chunk_states_shape(int64_t B, int64_t L, int64_t H, int64_t P, int64_t N);

// Throws Error naming the argument, the expected and the given shape. hT has the same bits with and without y
// and chunk_states.
void ssd_forward(Ctx& ctx, const SsdArgs& args, const SsdOut& out);
// `chunk_states` as forward wrote it for the same arguments; h0 is not read.
void ssd_backward(Ctx& ctx, const SsdArgs& args, const TensorRef& chunk_states, const SsdGrads& grads);
// One step for each of B independent rows: L = 1, h0 ignored, `h` (B,H,P,N) updated in place. A row's bits do
// not depend on the other rows. On a GPU A_log, D and dt_bias are read before the kernels before have ended: none of them may
// write those.
// `settled`: the op before this one is the in_proj_step (projection_step.h) that made the arguments, and h was there before
// that: it may be read at once.
void ssd_step(Ctx& ctx, const SsdArgs& args, const TensorRef& h, const TensorRef& y, bool settled = false);

}  // namespace adder
