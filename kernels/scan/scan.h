// Selective scan (Mamba-1).
//
//   dt[t]  = softplus(dt_raw[t] + dt_bias)             per channel d          A = -exp(A_log)
//   a      = exp(dt A[n])
//   b      = dt B[t,n]                                 Discretization::euler  (state-spaces/mamba)
//          = (exp(dt A[n]) - 1) / A[n] * B[t,n]        Discretization::zoh    (paper, equation 4)
//   h[t,n] = a h[t-1,n] + b u[t]
//   y[t]   = (sum over n of C[t,n] h[t,n] + D u[t]) * silu(z[t])
//
// A start flag at t sets h[t-1] to zero (assigned, not multiplied: a NaN before a start cannot cross it).
// Source: Gu & Dao 2023 (arXiv 2312.00752), section 3.2, algorithm 2; the gate is the block's SiLU branch
// (figure 3).
#pragma once
#include "core/ctx.h"
#include "core/tensor.h"
#include "kernels/common/discretization.h"

namespace adder {

// "S" below is the accumulation type of the storage type: f32 for f32, f64 for f64. Any row strides;
// innermost stride 1.
struct ScanArgs {
    TensorRef u;        // (B,L,D) storage   input after convolution and SiLU
    TensorRef dt_raw;   // (B,L,D) storage   step size before bias and softplus
    TensorRef A_log;    // (D,N) S           N from 1 to 256
    TensorRef B;        // (B,L,N) storage
    TensorRef C;        // (B,L,N) storage
    TensorRef D;        // (D) S             skip
    TensorRef dt_bias;  // (D) S
    TensorRef z;        // (B,L,D) storage   gate; absent = no gate
    TensorRef start;    // (B,L) u8          absent = no starts
    TensorRef h0;       // (B,D,N) S         state before the first step; absent = zero
    Discretization discretization = Discretization::euler;
};

// What forward writes. `chunk_states` keeps the state before every chunk for backward; absent = keep nothing.
// An absent `y` means that only the state is wanted: the work of the output is skipped. hT has the same bits
// whichever of the other two are given.
struct ScanOut {
    TensorRef y;   // (B,L,D) storage  absent = not wanted
    TensorRef hT;  // (B,D,N) S   state after the last step; must not overlap h0 unless chunk_states is absent
    TensorRef chunk_states;  // scan_chunk_states_shape(B,L,D,N) S
};

// Gradients. Activations are overwritten, parameters are added to.
struct ScanGrads {
    TensorRef d_y;             // (B,L,D) storage, in
    TensorRef d_u, d_dt_raw;   // (B,L,D) storage, =
    TensorRef d_z;             // (B,L,D) storage, =; present exactly when z is
    TensorRef d_B, d_C;        // (B,L,N) storage, =
    TensorRef d_A_log;         // (D,N) S, +=
    TensorRef d_D, d_dt_bias;  // (D) S, +=
    TensorRef d_h;  // (B,D,N) S: gradient of hT on entry, of h0 on return; absent = zero, not wanted
};

// The most steps of a call on a GPU; the CPU has no limit.
inline constexpr int64_t kMostScanStepsCuda = 0x7fffffff;
// Steps between two kept states.
inline constexpr int64_t kScanChunk = 64;
// (B, ceil(L / kScanChunk), N, D): channels innermost, as the kernels hold the state.
Shape scan_chunk_states_shape(int64_t B, int64_t L, int64_t D, int64_t N);

// Throws Error naming the argument, the expected and the given shape.
void scan_forward(Ctx& ctx, const ScanArgs& args, const ScanOut& out);
// `chunk_states` as forward wrote it for the same arguments. Start flags, h0 and z must be those of forward.
// No gradient may overlap an argument or another gradient.
void scan_backward(Ctx& ctx, const ScanArgs& args, const TensorRef& chunk_states, const ScanGrads& grads);
// One step for each of B independent rows: L = 1, h0 ignored, `h` (B,D,N) updated in place. A row's bits do
// not depend on the other rows.
void scan_step(Ctx& ctx, const ScanArgs& args, const TensorRef& h, const TensorRef& y);

// The step's projection in front of it: dt_raw = weight x. On a GPU weight, A_log, D and dt_bias are read before the
// kernels before have ended: none of them may write those.
struct LowRankStep {
    TensorRef x;       // (B,1,R) storage
    TensorRef weight;  // (D,R) storage
    // The op before this one is the linear_step that made x, and h0 was there before that: it may be read at once.
    bool settled = false;
};
// As scan_step with this dt_raw; that of args is not read and may be absent. On a GPU dt_raw may stay unrounded. args.h0 is
// the state before, hT (B,D,N) S the state after the step, which may be args.h0 itself.
void scan_step_low_rank(Ctx& ctx, const ScanArgs& args, const LowRankStep& dt, const TensorRef& hT, const TensorRef& y);

}  // namespace adder
