// What the CUDA kernels of ssd.h share: their arguments, the scalars of a chunk's steps, start flags as bits, tiles of
// bf16 in shared memory and the fragments that tensor cores read from them.
#pragma once
#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"
#include "kernels/ssd/ssd_cuda.h"

namespace adder::cuda {

// Steps of a chunk; a lane of a warp has two.
inline constexpr int kChunk = static_cast<int>(kSsdChunk);
static_assert(kChunk == 2 * kWarp);

// The arguments of ssd.h as a kernel takes them. T is the storage type.
template <class T>
struct SsdInputs {
    View<const T, 3> x, dt_raw, Bm, C;
    const float *A_log, *D, *dt_bias;
    View<const uint8_t, 2> start;  // may be absent
    View<const float, 4> h0;       // may be absent
    int64_t L;
    int B, H, P, N, G;
    bool zoh;

    __host__ __device__ int64_t chunks() const { return (L + kChunk - 1) / kChunk; }
    __host__ __device__ int group(int h) const { return h / (H / G); }
};

template <class T>
SsdInputs<T> ssd_inputs(const SsdArgs& a) {
    SsdInputs<T> in;
    in.x = a.x.as<const T, 3>("[ssd] x");
    in.dt_raw = a.dt_raw.as<const T, 3>("[ssd] dt_raw");
    in.Bm = a.B.as<const T, 3>("[ssd] B");
    in.C = a.C.as<const T, 3>("[ssd] C");
    in.A_log = a.A_log.ptr<const float>("[ssd] A_log");
    in.D = a.D.ptr<const float>("[ssd] D");
    in.dt_bias = a.dt_bias.ptr<const float>("[ssd] dt_bias");
    in.start = a.start.as<const uint8_t, 2>("[ssd] start");
    in.h0 = a.h0.as<const float, 4>("[ssd] h0");
    in.L = a.x.size(1);
    in.B = static_cast<int>(a.x.size(0)), in.H = static_cast<int>(a.A_log.size(0));
    in.P = static_cast<int>(a.x.size(2)) / in.H, in.N = static_cast<int>(a.N), in.G = static_cast<int>(a.G);
    in.zoh = a.discretization == Discretization::zoh;
    return in;
}

// ---- scalars of the steps ----

// (exp(x) - 1) / x for x <= 0, by its series where the quotient is 0 / 0 or close to it.
__device__ __forceinline__ float zoh_factor(float x) {
    if (fabsf(x) < 1e-3f) return 1.0f + x * (0.5f + x * (1.0f / 6));
    return expm1f(x) / x;
}

// One step of one head.
struct SsdStepScalars {
    float dt, A, gain;
    __device__ float log_decay() const { return dt * A; }
};
__device__ __forceinline__ SsdStepScalars ssd_step_scalars(float raw_with_bias, float A, bool zoh) {
    SsdStepScalars s{softplus(raw_with_bias), A, 0};
    s.gain = zoh ? s.dt * zoh_factor(s.dt * A) : s.dt;
    return s;
}

// The scalars of all steps, made once a call by ssd_prepare_steps and read by every kernel after it. Rows of kChunk
// floats, row (b * H + h) * chunks + chunk; steps past L have gain 0 and the sums of the last
// step.
//   hi + lo  sum of dt A log2(e) through this step from the first step of the chunk, or of the member that began in the
//            chunk: only sums of one member may be compared, and nothing from before a start is in them. The sum is
//            made in f64 and split, so that the difference of two sums is as good as a sum of the terms between them.
//            Where operands are bf16 anyway, hi alone (error 2^-25 of the sum) is enough.
//   gain     what the input is multiplied with: dt, or (exp(dt A) - 1) / A
//   column   hi - log2(gain): exp2(hi_i - column_j) is the decay from after step j until after step i times the gain of j
struct SsdSteps {
    float *hi, *lo, *gain;  // lo and gain may be null
    int64_t chunks;
    float* column = nullptr;  // may be null

    __device__ int64_t row(int b, int h, int H, int64_t chunk) const {
        return ((static_cast<int64_t>(b) * H + h) * chunks + chunk) * kChunk;
    }
};
// Floats of each of the three arrays.
inline int64_t ssd_steps_floats(int64_t B, int64_t L, int64_t H) {
    return B * H * ((L + kSsdChunk - 1) / kSsdChunk) * kSsdChunk;
}
// One kernel on the context's stream (ssd_steps.cu).
template <class T>
void ssd_prepare_steps(Ctx& ctx, const SsdInputs<T>& in, const SsdSteps& steps);
extern template void ssd_prepare_steps<float>(Ctx&, const SsdInputs<float>&, const SsdSteps&);
extern template void ssd_prepare_steps<bf16>(Ctx&, const SsdInputs<bf16>&, const SsdSteps&);

// ---- start flags of a chunk ----

// Bit i: step i of the chunk starts a member. The same in every lane; all lanes of a warp take part.
struct ChunkStarts {
    uint64_t bits = 0;

    __device__ bool any() const { return bits != 0; }
    // Starts up to and including step i: two steps are of one member where these are equal.
    __device__ int member(int i) const { return __popcll(bits << (63 - i)); }
    // No start at steps j + 1 to i; j <= i.
    __device__ bool joined(int j, int i) const { return member(i) == member(j); }
    // The first step that the state before the chunk does not reach; kChunk without a start.
    __device__ int first() const { return bits ? __ffsll(static_cast<long long>(bits)) - 1 : kChunk; }
    // The last start up to and including step i; -1 = none.
    __device__ int last_until(int i) const { return 63 - __clzll(static_cast<long long>(bits & (~0ull >> (63 - i)))); }
    // The first step that reaches the state after the chunk; 0 without a start.
    __device__ int last() const { return bits ? last_until(63) : 0; }
};

template <class T>
__device__ __forceinline__ ChunkStarts chunk_starts(const SsdInputs<T>& in, int b, int64_t chunk) {
    ChunkStarts s;
    if (!in.start) return s;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int64_t t = chunk * kChunk + lane;
    const bool low = t < in.L && in.start(b, t) != 0;
    const bool high = t + kWarp < in.L && in.start(b, t + kWarp) != 0;
    s.bits = __ballot_sync(kFullWarp, low) | static_cast<uint64_t>(__ballot_sync(kFullWarp, high)) << 32;
    return s;
}

// ---- tiles of bf16 in shared memory ----

// Rows of W elements, W = 64 or a multiple; 16-byte units are permuted within groups of eight by the row, so that
// neither rows nor columns of fragments meet in a bank.
template <int W>
__device__ __forceinline__ int tile_at(int row, int col) {
    static_assert(W % 64 == 0);
    return row * W + ((((col >> 3) ^ (row & 7)) << 3) | (col & 7));
}

// Fragments (mma.cuh says which lane holds what) from a tile of rows of W elements. Row offsets are multiples of 8, column
// offsets of 16, so that a lane's place is one exclusive or and additions away from where it would be at (0, 0).
template <int W>
__device__ __forceinline__ const bf16* fragment_at(const bf16* tile, int lane_row, int lane_col, int row0, int col0) {
    const int origin = tile_at<W>(lane_row, lane_col);
    return tile + ((origin ^ (col0 & 63)) + (col0 & ~63) + row0 * W);
}
__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x) % kWarp; }
// A (16 x 16) at rows m0, columns k0 of a tile that holds A as it is. `i`: the lane.
template <int W>
__device__ __forceinline__ void load_a(uint32_t (&a)[4], const bf16* tile, int m0, int k0, int i = lane_index()) {
    load_matrix_x4(a, fragment_at<W>(tile, i % 16, i / 16 * 8, m0, k0));
}
// A (16 x 16) at rows k0, columns m0 of a tile that holds A transposed.
template <int W>
__device__ __forceinline__ void load_a_transposed(uint32_t (&a)[4], const bf16* tile, int m0, int k0, int i = lane_index()) {
    load_matrix_x4_transposed(a, fragment_at<W>(tile, i % 8 + i / 16 * 8, i / 8 % 2 * 8, k0, m0));
}
// Two neighbouring B (16 x 8 each: columns n0 and n0 + 8) at rows k0, columns n0 of a tile that holds B as it is:
// b[0..1] the first, b[2..3] the second.
template <int W>
__device__ __forceinline__ void load_b2(uint32_t (&b)[4], const bf16* tile, int k0, int n0, int i = lane_index()) {
    load_matrix_x4_transposed(b, fragment_at<W>(tile, i % 16, i / 16 * 8, k0, n0));
}
// The same from a tile that holds B transposed: rows n0, columns k0.
template <int W>
__device__ __forceinline__ void load_b2_transposed(uint32_t (&b)[4], const bf16* tile, int k0, int n0, int i = lane_index()) {
    load_matrix_x4(b, fragment_at<W>(tile, i % 8 + i / 16 * 8, i / 8 % 2 * 8, n0, k0));
}
// One B (16 x 8: columns n0) at rows k0, b[0..1], and the one below it at rows k0 + 16, b[2..3]; k0 a multiple of 32, the
// tile holds B transposed.
template <int W>
__device__ __forceinline__ void load_b_long_transposed(uint32_t (&b)[4], const bf16* tile, int k0, int n0, int i = lane_index()) {
    load_matrix_x4(b, fragment_at<W>(tile, i % 8, i / 8 * 8, n0, k0));
}
// c[0] += a b, c[1] += a (the second b).
__device__ __forceinline__ void mma_2(float (&c0)[4], float (&c1)[4], const uint32_t (&a)[4], const uint32_t (&b)[4]) {
    const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
    mma_16x8x16(c0, a, first);
    mma_16x8x16(c1, a, second);
}

}  // namespace adder::cuda
