// What the kernels of the CUDA backward of ssd.h share. In order, all on one stream:
//   1 ssd_prepare_steps   gains and sums of log decays of every step (ssd_tile.cuh)
//   2 states, local       what a segment of time adds to d_state; only where time is cut into segments
//   3 carry               d_state after every segment; only there
//   4 states              d_state after every chunk, in the type of chunk_states; d_h
//   5 chunk               everything else: a block has a chunk of a group, or of a set of the heads of a group
//   6 sums                parameters; d_B and d_C where sets of heads were summed apart
// Tensor kernels (ssd_backward_states.cu, ssd_backward_chunk.cu): where chunk_states are bf16. General ones
// (ssd_backward_general.cu): where they are f32.
//
// With s the sum of log decays from a chunk's begin, gain b, L[i,j] = exp(s_i - s_j) for i >= j, e_i = exp(s_i),
// f_j = exp(s_end - s_j), h the state before the chunk, dH the gradient of the state after it (P,N):
//   G[i,j] = C_i B_j     M[i,j] = dy_i x_j     dG = L b_j M     W = dG G
//   u_j  = sum over i of (L G)[i,j] dy_i + f_j dH B_j     dx_j = b_j u_j + D dy_j     d_b_j = x_j u_j
//   dC_i = sum over j of dG[i,j] B_j + e_i h^T dy_i       z_i = e_i C_i h^T dy_i
//   dB_j = sum over i of dG[i,j] C_i + f_j b_j dH^T x_j   v_j = f_j b_j B_j dH^T x_j
//   d(log decay)_k = sum over j < k <= i of W[i,j], over i >= k of z_i, over j < k of v_j; + e_end <h, dH>
// dG is summed over the heads of a group before it meets B and C. A start splits its chunk into runs; a run is done
// like a chunk whose other steps are zero, with h for the first run and dH for the last only. Nothing is multiplied
// with what a start has cut. Source: Dao & Gu 2024 (arXiv 2405.21060), section 6.
#pragma once
#include "kernels/ssd/ssd_tile.cuh"

namespace adder::cuda {

// How a call is cut, from its shapes and most_shared_bytes() alone, and where in scratch things are (bytes from its
// begin).
struct SsdBackwardPlan {
    int64_t B, L, H, P, N, G, chunks;
    bool bf16_storage, tensor;
    int64_t width;              // row length of d_states: N rounded up to 16 bytes of bf16
    int64_t segment, segments;  // chunks that a block of `states` walks; how many such
    int64_t heads, sets;        // heads of a group that a block of `chunk` walks; how many such
    int64_t hi, lo, gain;       // f32, ssd_steps_floats each; lo for f32 storage
    int64_t d_states;           // (B,chunks,H,P,width), bf16 or f32: this is what takes room
    int64_t carry, decay;       // (B,segments,H,P,width), (B,segments,H) f32
    int64_t rows;               // (2,sets,B,L,G*N) f32: d_B, d_C by sets
    int64_t sums;               // (3,H,B*chunks) f32: d_A_log, d_D, d_dt_bias
    int64_t bytes;

    explicit SsdBackwardPlan(const SsdArgs& args);
    bool partial_rows() const { return !tensor || sets > 1; }
};

template <class T>
struct SsdBackwardArgs {
    SsdInputs<T> in;
    View<const T, 3> d_y;
    View<T, 3> d_x, d_dt_raw, d_B, d_C;
    View<float, 4> d_h;
    // (B,chunks,H,P*N), (B,chunks,H,P,width); S below: bf16 for the tensor kernels, float for the general ones.
    const void* states;
    void* d_states;
    float *carry, *decay;
    float *rows, *sums;  // rows: null where d_B and d_C are written at once
    SsdSteps steps;
    int64_t segment;
    int segments, width, heads, sets;
    bool vector;  // every row of x, B, C, states and their gradients begins at 16 bytes

    template <class S>
    __device__ S* d_state(int b, int64_t chunk, int h) const {
        return static_cast<S*>(d_states) + ((b * in.chunks() + chunk) * in.H + h) * in.P * width;
    }
    template <class S>
    __device__ const S* state(int b, int64_t chunk, int h) const {
        return static_cast<const S*>(states) + ((b * in.chunks() + chunk) * in.H + h) * in.P * in.N;
    }
    __device__ float* carry_of(int b, int seg, int h) const {
        return carry + ((static_cast<int64_t>(b) * segments + seg) * in.H + h) * in.P * width;
    }
    __device__ float& decay_of(int b, int seg, int h) const {
        return decay[(static_cast<int64_t>(b) * segments + seg) * in.H + h];
    }
    // Row t of the partial d_B (which = 0) or d_C (1) of a set, from the first column of group g.
    __device__ float* partial_row(int which, int set, int b, int64_t t, int g) const {
        const int64_t row = (static_cast<int64_t>(which * sets + set) * in.B + b) * in.L + t;
        return rows + (row * in.G + g) * in.N;
    }
};

// `local`: from zero after the segment, into carry and decay; otherwise from what is there, into d_states.
void ssd_states_tensor(Ctx& ctx, const SsdBackwardArgs<bf16>& a, bool local);
void ssd_chunk_tensor(Ctx& ctx, const SsdBackwardArgs<bf16>& a);
template <class T>
void ssd_states_general(Ctx& ctx, const SsdBackwardArgs<T>& a, bool local);
template <class T>
void ssd_chunk_general(Ctx& ctx, const SsdBackwardArgs<T>& a);

extern template void ssd_states_general<float>(Ctx&, const SsdBackwardArgs<float>&, bool);
extern template void ssd_states_general<bf16>(Ctx&, const SsdBackwardArgs<bf16>&, bool);
extern template void ssd_chunk_general<float>(Ctx&, const SsdBackwardArgs<float>&);
extern template void ssd_chunk_general<bf16>(Ctx&, const SsdBackwardArgs<bf16>&);

// What a block of `states` does: channels [64 tile, ...) of one head in one segment.
struct SsdStatesTask {
    int b, h, seg, tile;
    int64_t c0, c1;

    // Blocks of neighbouring heads are neighbours: they read the same C.
    template <class T>
    __device__ SsdStatesTask(const SsdBackwardArgs<T>& a, int tiles, bool local) {
        const int walked = a.segments - local;  // nobody wants what the first segment adds
        int64_t i = blockIdx.x;
        tile = static_cast<int>(i % tiles), i /= tiles;
        h = static_cast<int>(i % a.in.H), i /= a.in.H;
        seg = static_cast<int>(i % walked) + local;
        b = static_cast<int>(i / walked);
        c0 = seg * a.segment;
        c1 = c0 + a.segment < a.in.chunks() ? c0 + a.segment : a.in.chunks();
    }
};

// What a block of `chunk` does: heads [h0, h1) of a group in one chunk of q steps from t0.
struct SsdChunkTask {
    int b, g, set, h0, h1, q;
    int64_t chunk, t0;

    template <class T>
    __device__ explicit SsdChunkTask(const SsdBackwardArgs<T>& a) {
        int64_t i = blockIdx.x;
        set = static_cast<int>(i % a.sets), i /= a.sets;
        g = static_cast<int>(i % a.in.G), i /= a.in.G;
        chunk = i % a.in.chunks();
        b = static_cast<int>(i / a.in.chunks());
        t0 = chunk * kChunk;
        q = static_cast<int>(a.in.L - t0 < kChunk ? a.in.L - t0 : kChunk);
        const int in_group = a.in.H / a.in.G, first = set * a.heads;
        h0 = g * in_group + first;
        h1 = g * in_group + (first + a.heads < in_group ? first + a.heads : in_group);
    }
};

// Steps [begin, end) of a chunk, all of one member.
struct SsdRun {
    int begin, end;
    bool first, last;  // the state before the chunk reaches it; it reaches the state after the chunk

    __device__ bool has(int i) const { return i >= begin && i < end; }
    __device__ bool whole() const { return first && last; }
    // Where step i takes its sum of log decays from, so that no decay between steps i >= j exceeds 1; -1 = it is zero.
    __device__ int source(int i) const { return i < begin ? -1 : i < end ? i : end - 1; }
};
__device__ __forceinline__ SsdRun ssd_run_from(const ChunkStarts& starts, int begin, int q) {
    const uint64_t later = begin < 63 ? starts.bits >> (begin + 1) : 0;
    int end = later ? begin + __ffsll(static_cast<long long>(later)) : q;
    if (end > q) end = q;
    return {begin, end, begin == 0 && !(starts.bits & 1), end == q};
}

// (exp(x) - zoh_factor(x)) / x, the slope of zoh_factor; where that cancels, sum of n x^(n-1) / (n+1)!.
__device__ __forceinline__ float zoh_factor_slope(float x) {
    if (fabsf(x) >= 0.5f) return (expf(x) - expm1f(x) / x) / x;
    float sum = 9.0f / 3628800;
    sum = sum * x + 8.0f / 362880, sum = sum * x + 7.0f / 40320, sum = sum * x + 6.0f / 5040;
    sum = sum * x + 5.0f / 720, sum = sum * x + 4.0f / 120, sum = sum * x + 3.0f / 24;
    return (sum * x + 2.0f / 6) * x + 0.5f;
}

// Gradients that one step hands on, from those of its log decay and of its gain.
struct SsdStepGradient {
    float raw = 0, A_log = 0;

    __device__ SsdStepGradient(float raw_with_bias, float A, bool zoh, float d_log, float d_gain) {
        const float dt = softplus(raw_with_bias), x = dt * A;
        float d_dt = d_log * A;
        A_log = d_log * x;
        if (zoh) {
            d_dt += d_gain * expf(x);
            A_log += d_gain * dt * x * zoh_factor_slope(x);
        } else {
            d_dt += d_gain;
        }
        raw = d_dt * sigmoid(raw_with_bias);
    }
};

// The sum over lanes l <= lane (up) or l >= lane (down).
template <class S>
__device__ __forceinline__ S warp_sum_up(S x) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int d = 1; d < kWarp; d *= 2) {
        const S other = __shfl_up_sync(kFullWarp, x, d);
        if (lane >= d) x += other;
    }
    return x;
}
template <class S>
__device__ __forceinline__ S warp_sum_down(S x) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int d = 1; d < kWarp; d *= 2) {
        const S other = __shfl_down_sync(kFullWarp, x, d);
        if (lane + d < kWarp) x += other;
    }
    return x;
}

// Per step of one run of one head; lane l of a warp has steps 2 l and 2 l + 1. Zero outside the run.
struct SsdRunSums {
    float pairs[2];   // what pairs of steps add to d(log decay)
    float before[2];  // z
    float after[2];   // v
    float gain[2];    // x u
    float through;    // e_end <h, dH>
    float skip;       // sum of dy x
};

// One warp: writes d_dt_raw and adds this run's share of the parameters' gradients to `sums`. Sums over steps
// are in f64.
template <class T>
__device__ void ssd_step_gradients(const SsdBackwardArgs<T>& a, const SsdChunkTask& task, const SsdRun& run, int h,
                                   const SsdRunSums& s) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const float A = -expf(a.in.A_log[h]), bias = a.in.dt_bias[h];
    const double after = static_cast<double>(s.after[0]) + s.after[1];
    const double before = static_cast<double>(s.before[0]) + s.before[1];
    const double until = warp_sum_up(after), from = warp_sum_down(before);
    const double d_log[2] = {until - after + from + s.through, until - s.after[1] + (from - s.before[0]) + s.through};
    double sum_A = 0, sum_bias = 0;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        const int i = 2 * lane + k;
        if (!run.has(i)) continue;
        const float raw = to_float(a.in.dt_raw(task.b, task.t0 + i, h)) + bias;
        const SsdStepGradient g(raw, A, a.in.zoh, static_cast<float>(d_log[k] + s.pairs[k]), s.gain[k]);
        a.d_dt_raw(task.b, task.t0 + i, h) = from_float<T>(g.raw);
        sum_A += static_cast<double>(g.A_log);
        sum_bias += static_cast<double>(g.raw);
    }
    sum_A = warp_sum(sum_A);
    sum_bias = warp_sum(sum_bias);
    if (lane != 0) return;
    const int64_t of_head = static_cast<int64_t>(a.in.B) * a.in.chunks(), kind = a.in.H * of_head;
    float* to = a.sums + h * of_head + task.b * a.in.chunks() + task.chunk;
    const float share[3] = {static_cast<float>(sum_A), s.skip, static_cast<float>(sum_bias)};
    for (int k = 0; k < 3; ++k) to[k * kind] = run.begin == 0 ? share[k] : to[k * kind] + share[k];
}

}  // namespace adder::cuda
