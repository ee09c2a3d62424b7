// What the CUDA kernels of scan.h share: their arguments, how work is cut, rows of B and C in shared memory,
// the scalars of a step, the carry of states over segments.
//
// Time is cut into segments of equal length where batch and channels alone do not fill a GPU (only
// shapes decide). Then three kernels run: the first walks every segment
// from a state of zero and keeps the state at its end and its sum of dt (a segment scales a state by 2^(A
// log2(e) sum dt)); the second carries the states over the segments; the third walks every segment from its
// true state. One segment needs only the third.
// Longer than other files: all that the scan's kernels share, in one place.
#pragma once
#include <algorithm>

#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"
#include "kernels/common/multiprocessors.h"
#include "kernels/common/shared_memory.h"
#include "kernels/scan/scan_cuda.h"

namespace adder::cuda::scan {

// States of a channel that one thread holds; more are spread over lanes.
inline constexpr int kStates = 16;
inline constexpr int kMaxThreads = 128;
inline constexpr float kLn2 = 0.6931471805599453f;

// ---- how work is cut ----

// Where the lanes of a block are. With `lanes` = 2^log2 lanes a channel, a warp has 32 / lanes neighbouring
// channels (or groups of V), and its lanes are ordered (block of 16 states, channel).
struct Lanes {
    int log2;
    int threads;  // of a block
    int groups;   // blocks along the channels

    // `columns`: threads of a block at most.
    Lanes(int64_t D, int64_t N, int V, int columns = kMaxThreads) : log2(0) {
        while ((kStates << log2) < N) ++log2;
        // Rows of many states are long: fewer threads share them, so that a block's shared memory stays the
        // same.
        const int64_t most = columns / kWarp / (log2 >= 3 ? 2 : 1), in_warp = int64_t{kWarp >> log2} * V;
        const int64_t warps = ceil_div(D, in_warp);
        threads = kWarp * static_cast<int>(std::min(warps, most));
        groups = static_cast<int>(ceil_div(warps, std::min(warps, most)));
    }
    int padded_states() const { return kStates << log2; }
};

// `count` segments of `steps` steps, the last maybe shorter. Unless count is 1, `steps` is a quarter, half or
// multiple of kScanChunk.
struct TimeSplit {
    int64_t steps, count;
};

// What the split of time is chosen by.
struct SplitCost {
    int64_t resident;     // blocks that a GPU holds at a time
    int64_t least_steps;  // of a segment: 16, 32 or a multiple of kScanChunk
    double half_full;     // time with half of them, against all of them
    double two_passes;    // time of a step with more than one segment, against one
};

// The split of least estimated time for this many blocks a segment.
inline TimeSplit split_time(int64_t L, int64_t blocks, const SplitCost& cost) {
    const auto time = [&](const TimeSplit& s) {
        const int64_t n = blocks * s.count;
        const double rounds =
            2 * n <= cost.resident ? cost.half_full : static_cast<double>(ceil_div(n, cost.resident));
        return rounds * static_cast<double>(s.steps) * (s.count > 1 ? cost.two_passes : 1.0);
    };
    TimeSplit best{L, 1};
    for (int64_t rounds = 1; rounds <= 4; ++rounds) {
        const int64_t count = std::max<int64_t>(rounds * cost.resident / blocks, 1);
        int64_t steps = kScanChunk / 4;
        while (steps < kScanChunk && steps < ceil_div(L, count)) steps *= 2;
        steps = std::max(ceil_div(std::max(ceil_div(L, count), steps), steps) * steps, cost.least_steps);
        const TimeSplit s{steps, ceil_div(L, steps)};
        if (s.count > 1 && time(s) < time(best)) best = s;
    }
    return best;
}

// ---- arguments ----

template <class T>
struct Inputs {
    View<const T, 3> u, dt_raw, B, C, z;  // z may be absent
    View<const float, 2> A_log;
    View<const float, 1> D, dt_bias;
    View<const uint8_t, 2> start;  // may be absent
    int64_t L;
    int n_batch, n_channels, N;
    int lanes_log2;
    bool zoh;
    // Segments of time.
    int64_t steps;
    int segments;
};

template <class T>
Inputs<T> inputs_of(const ScanArgs& a, const Lanes& lanes, const TimeSplit& split) {
    Inputs<T> in;
    in.u = a.u.as<const T, 3>("[scan] u");
    in.dt_raw = a.dt_raw.as<const T, 3>("[scan] dt_raw");
    in.B = a.B.as<const T, 3>("[scan] B");
    in.C = a.C.as<const T, 3>("[scan] C");
    in.z = a.z.as<const T, 3>("[scan] z");
    in.A_log = a.A_log.as<const float, 2>("[scan] A_log");
    in.D = a.D.as<const float, 1>("[scan] D");
    in.dt_bias = a.dt_bias.as<const float, 1>("[scan] dt_bias");
    in.start = a.start.as<const uint8_t, 2>("[scan] start");
    in.L = a.u.size(1);
    in.n_batch = static_cast<int>(a.u.size(0)), in.n_channels = static_cast<int>(a.u.size(2));
    in.N = static_cast<int>(a.A_log.size(1));
    in.lanes_log2 = lanes.log2;
    in.zoh = a.discretization == Discretization::zoh;
    in.steps = split.steps, in.segments = static_cast<int>(split.count);
    return in;
}

// ---- V neighbouring channels as they lie in memory ----

template <class T, int V>
struct Raw {
    T item;
    __device__ __forceinline__ float operator[](int) const { return item; }
    __device__ __forceinline__ static Raw load(const T* p) { return {*p}; }
};
template <>
struct Raw<bf16, 1> {
    uint32_t item;
    __device__ __forceinline__ float operator[](int) const { return low_bf16(item); }
    __device__ __forceinline__ static Raw load(const bf16* p) { return {p->bits}; }
};
template <>
struct Raw<bf16, 2> {
    uint32_t item;
    __device__ __forceinline__ float operator[](int c) const {
        return c == 0 ? low_bf16(item) : high_bf16(item);
    }
    __device__ __forceinline__ static Raw load(const bf16* p) {
        return {*reinterpret_cast<const uint32_t*>(p)};
    }
};

// The channels of one step after the other.
template <class T>
struct Cursor {
    const T* at;
    int64_t stride;

    template <int V>
    __device__ __forceinline__ Raw<T, V> next(bool valid) {
        const Raw<T, V> raw = valid ? Raw<T, V>::load(at) : Raw<T, V>{};
        at += stride;
        return raw;
    }
};

// ---- states in memory ----

// The states of a thread's channels: state n of channel c at p[n * by_state + c * by_channel] for n < count.
template <class T>
struct StatePlane {
    T* p;
    int64_t by_state, by_channel;
    int count;

    template <int V>
    __device__ __forceinline__ void load(float (&h)[V][kStates]) const {
        const T* from = p;
#pragma unroll
        for (int n = 0; n < kStates; ++n, from += by_state)
#pragma unroll
            for (int c = 0; c < V; ++c) h[c][n] = n < count ? from[c * by_channel] : 0.0f;
    }
    template <int V>
    __device__ __forceinline__ void store(const float (&h)[V][kStates]) const {
        T* to = p;
#pragma unroll
        for (int n = 0; n < kStates; ++n, to += by_state)
#pragma unroll
            for (int c = 0; c < V; ++c)
                if (n < count) to[c * by_channel] = h[c][n];
    }
};

// ---- a thread ----

// Which part of the work a thread has.
struct Place {
    int64_t b, segment, t0;  // row, segment, first step
    int steps;               // of the segment
    int d;                   // first channel
    int d_read;              // the same or, past the last channel, one that can be read
    int n0;                  // first state
    int row;                 // b * segments + segment
    int count;               // states that exist of a channel that exists, else 0

    template <class T>
    __device__ __forceinline__ Place(const Inputs<T>& in, int V, int lanes_log2) {
        row = static_cast<int>(blockIdx.x);
        b = row / in.segments, segment = row % in.segments;
        t0 = segment * in.steps;
        steps = static_cast<int>(min(in.steps, in.L - t0));
        const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, in_warp = kWarp >> lanes_log2;
        d = ((static_cast<int>(blockIdx.y) * (static_cast<int>(blockDim.x) / kWarp) + warp) * in_warp +
             lane % in_warp) *
            V;
        d_read = min(d, in.n_channels - V);
        n0 = lane / in_warp * kStates;
        count = d < in.n_channels ? min(in.N - n0, kStates) : 0;
    }
    // Of a (B,D,N) tensor; of (B, segments, N, D) in scratch.
    template <class S>
    __device__ StatePlane<S> plane(const View<S, 3>& v) const {
        return {v.data + (b * v.stride[0] + d * v.stride[1] + n0), 1, v.stride[1], v ? count : 0};
    }
    __device__ StatePlane<float> plane(float* ends, int N, int n_channels) const {
        return {ends + (static_cast<int64_t>(row) * N + n0) * n_channels + d, n_channels, 1, count};
    }
};

// One bit for each lane that says so, in a form that the compiler takes for the same in all lanes: branches
// on it need no provision for lanes that part.
__device__ __forceinline__ uint32_t uniform_ballot(bool x) {
    return __shfl_sync(kFullWarp, __ballot_sync(kFullWarp, x), 0);
}

// Zero, where a start says so. All lanes of a warp must agree on it. The barrier keeps the rare case a
// branch: as selects it would cost every step an instruction a state.
template <int V>
__device__ __forceinline__ void zero_if(bool cut, float (&h)[V][kStates]) {
    if (!cut) return;
    __syncwarp();
#pragma unroll
    for (int c = 0; c < V; ++c)
#pragma unroll
        for (int n = 0; n < kStates; ++n) h[c][n] = 0.0f;
}

// Sum over the lanes that share a channel.
__device__ __forceinline__ float sum_over_states(float x, int lanes_log2) {
    for (int offset = kWarp / 2; offset >= kWarp >> lanes_log2; offset /= 2)
        x += __shfl_xor_sync(kFullWarp, x, offset);
    return x;
}

// 2^x2, a state's decay over a step, x2 <= 0. The instruction errs by up to two units in the last place, always to the same
// side near x2 = 0: over the hundreds of steps that a slow state remembers this shows in f32 storage, which therefore
// takes its Taylor series about the nearest whole number (relative error 5e-9 before rounding).
template <class T>
__device__ __forceinline__ float decay_of(float x2) {
    if constexpr (!std::is_same_v<T, float>) return exp2_approx(x2);
    if (!(x2 > -126.0f)) return exp2_approx(x2);
    const float whole = rintf(x2), f = x2 - whole;
    float p = 1.5252734e-5f;
    p = fmaf(p, f, 1.5403530e-4f);
    p = fmaf(p, f, 1.3333558e-3f);
    p = fmaf(p, f, 9.6181291e-3f);
    p = fmaf(p, f, 5.5504109e-2f);
    p = fmaf(p, f, 2.4022651e-1f);
    p = fmaf(p, f, 6.9314718e-1f);
    return fmaf(p, f, 1.0f) * exp2_approx(whole);
}

// A of 16 states times log2(e); zero for those past N, whose B and C are zero too.
template <class T>
__device__ __forceinline__ void load_rates(const Inputs<T>& in, const Place& at, int d,
                                           float (&A2)[kStates]) {
    const float* const from = &in.A_log(d, at.n0);
#pragma unroll
    for (int n = 0; n < kStates; ++n) A2[n] = n < at.count ? -expf(from[n]) * kLog2e : 0.0f;
}

// ---- B and C ----

// Rows of B and C, step after step, on their way to shared memory as f32: (step, B then C, padded states).
template <class T>
struct Rows {
    const T *B, *C;  // of step 0
    int64_t B_stride, C_stride;
    int N, padded_log2;
    bool want_B, want_C;

    // `first`: a step of this call; `sign`: -1 walks back in time.
    __device__ Rows(const Inputs<T>& in, int64_t b, int64_t first, int sign, bool want_C, bool want_B = true)
        : B(&in.B(b, first, 0)),
          C(&in.C(b, first, 0)),
          B_stride(sign * in.B.stride[1]),
          C_stride(sign * in.C.stride[1]),
          N(in.N),
          padded_log2(4 + in.lanes_log2),
          want_B(want_B),
          want_C(want_C) {}
    // Element e of the rows from `step` on; zero past N, from step `end` on, and where it is not wanted.
    __device__ __forceinline__ float operator()(int e, int step, int end) const {
        const int t = step + (e >> (padded_log2 + 1)), n = e & ((1 << padded_log2) - 1);
        const bool is_C = (e >> padded_log2 & 1) != 0;
        if (t >= end || n >= N || !(is_C ? want_C : want_B)) return 0.0f;
        return to_float(is_C ? C[t * C_stride + n] : B[t * B_stride + n]);
    }
};

// The elements of Rows that one thread of a block brings, `batch` rows at a time: the first of them in two
// parts, so that it is on its way while the block works.
template <class T>
struct RowCursor {
    const Rows<T>& rows;
    const T* at;
    int64_t stride;  // of a batch
    int tid, row, elements;
    bool mine;

    // The first batch begins at `step`.
    __device__ RowCursor(const Rows<T>& rows, int tid, int step, int batch)
        : rows(rows),
          tid(tid),
          row(tid >> (rows.padded_log2 + 1)),
          elements(batch << (rows.padded_log2 + 1)) {
        const int n = tid & ((1 << rows.padded_log2) - 1);
        const bool is_C = (tid >> rows.padded_log2 & 1) != 0;
        at = is_C ? rows.C + (step + row) * rows.C_stride + n : rows.B + (step + row) * rows.B_stride + n;
        stride = batch * (is_C ? rows.C_stride : rows.B_stride);
        mine = tid < elements && n < rows.N && (is_C ? rows.want_C : rows.want_B);
    }
    // The batch that begins at `step`.
    __device__ __forceinline__ float next(int step, int end) {
        const float value = mine && step + row < end ? to_float(*at) : 0.0f;
        at += stride;
        return value;
    }
    __device__ __forceinline__ void put(float first, float* to, int step, int end) const {
        if (step >= end) return;
        if (tid < elements) to[tid] = first;
        for (int e = tid + static_cast<int>(blockDim.x); e < elements; e += static_cast<int>(blockDim.x))
            to[e] = rows(e, step, end);
    }
};

// ---- scalars of a step ----

// log(1 + exp(x)) to a few units in the last place.
__device__ __forceinline__ float step_size(float x) {
    // w = exp(-|x|). The argument of 2^ is rounded where it is large; what rounding took is put back to first
    // order.
    const float m = fmaxf(-fabsf(x), -88.0f), high = m * kLog2e, low = fmaf(m, kLog2e, -high);
    float w = exp2_approx(high);
    w = fmaf(w, low * kLn2, w);
    // log(1 + w) / w on [0, 1], minimax.
    float p = -3.2440228e-3f;
    p = fmaf(p, w, 1.98514442e-2f);
    p = fmaf(p, w, -5.69594839e-2f);
    p = fmaf(p, w, 1.06036479e-1f);
    p = fmaf(p, w, -1.53055876e-1f);
    p = fmaf(p, w, 1.96759368e-1f);
    p = fmaf(p, w, -2.49541331e-1f);
    p = fmaf(p, w, 3.33299623e-1f);
    p = fmaf(p, w, -4.99999024e-1f);
    p = fmaf(p, w, 1.0f);
    return fmaf(p, w, x < 0.0f ? 0.0f : x);  // NaN stays NaN
}
// 1 / (1 + exp(-x))
__device__ __forceinline__ float logistic(float x) {
    return __fdividef(1.0f, 1.0f + exp2_approx(-kLog2e * x));
}

// What zoh has for euler's dt, from x2 = dt A2 and a = 2^x2.
__device__ __forceinline__ float zoh_weight(float dt, float x2, float a, float A2) {
    // (exp(x) - 1) / x, by its series where the difference cancels.
    const float x = x2 * kLn2;
    float p = 1.0f / 40320;
    p = fmaf(p, x, 1.0f / 5040);
    p = fmaf(p, x, 1.0f / 720);
    p = fmaf(p, x, 1.0f / 120);
    p = fmaf(p, x, 1.0f / 24);
    p = fmaf(p, x, 1.0f / 6);
    p = fmaf(p, x, 0.5f);
    p = fmaf(p, x, 1.0f);
    return x > -0.5f ? dt * p : __fdividef(a - 1.0f, A2 * kLn2);
}

// Its derivative by A: dt^2 (exp(x) - (exp(x) - 1) / x) / x, by its series where the quotient cancels.
__device__ __forceinline__ float zoh_weight_slope(float dt, float x2, float a, float weight, float A2) {
    const float x = x2 * kLn2;
    float p = 1.0f / 403200;
    p = fmaf(p, x, 1.0f / 45360);
    p = fmaf(p, x, 1.0f / 5760);
    p = fmaf(p, x, 1.0f / 840);
    p = fmaf(p, x, 1.0f / 144);
    p = fmaf(p, x, 1.0f / 30);
    p = fmaf(p, x, 1.0f / 8);
    p = fmaf(p, x, 1.0f / 3);
    p = fmaf(p, x, 0.5f);
    return x > -0.5f ? dt * dt * p : __fdividef(fmaf(dt, a, -weight), A2 * kLn2);
}

// A sum of many f32 in two of them.
struct LongSum {
    float high = 0, low = 0;
    __device__ __forceinline__ void add(float x) {
        const float sum = high + x, other = sum - high;
        low += (high - (sum - other)) + (x - other);
        high = sum;
    }
    __device__ float value() const { return high + low; }
};

// ---- carry ----

// The end of every segment from zero becomes the state that the segment begins with, in the direction of the
// walk.
struct Carry {
    float* ends;          // (B, segments, N, D)
    const float* sum_dt;  // (B, segments, D); kCut: a start lies in the segment
    View<const float, 2> A_log;
    View<const float, 3> first;  // (B,D,N): before the first segment of the walk; absent = zero
    View<float, 3> last;         // (B,D,N): after the last; may be absent
    int segments, n_channels, N, n_batch;
    bool reverse;
};
inline constexpr float kCut = -1.0f;

void carry(cudaStream_t stream, const Carry& c);

}  // namespace adder::cuda::scan
