// How the norms share their rows, (b, t) counted through, out on a GPU: by shape alone, so that every sum over rows has
// one order.
#pragma once
#include <algorithm>

#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"
#include "kernels/common/multiprocessors.h"

namespace adder::cuda {

// A thread holds kPasses packs of V neighbouring elements of a row in registers: pack p of lane i begins at element
// (p lanes + i) V. Short rows belong to a warp (the lanes are its threads), long ones to a block.
inline constexpr int kPasses = 2;
inline constexpr int kWarpsPerBlock = 8;
// The most threads that a row of packs of V elements may have: registers for the packs of all of them.
template <int V>
inline constexpr int kMostThreads = 4096 / V;
template <int V>
inline constexpr int64_t kLongestRow = int64_t{kMostThreads<V>} * kPasses * V;
template <int V>
inline constexpr int64_t kLongestWarpRow = int64_t{kWarp} * kPasses * V;

// Rows cut into runs, a block each (or one for each group of channels). Sized so that the blocks fill a
// GPU once or twice and the partial sums, one row a run, stay few.
struct RowRuns {
    int64_t rows = 0, per_run = 0, runs = 0;
    bool warp_rows = false;
    int threads = 0;
};

// `n` elements in a row of a group, V in a pack.
inline RowRuns row_runs(int64_t rows, int64_t n, int V, int64_t groups) {
    RowRuns r;
    r.rows = rows;
    r.warp_rows = n <= kWarp * kPasses * V;
    const int64_t packs = ceil_div(n, kPasses * V);
    r.threads = r.warp_rows ? kWarp * kWarpsPerBlock
                            : static_cast<int>(std::min<int64_t>(4096 / V, ceil_div(packs, kWarp) * kWarp));
    const int64_t blocks_per_multiprocessor = std::clamp(2048 / r.threads, 2, 16);
    const int64_t wanted = std::max<int64_t>(1, kMultiprocessors * blocks_per_multiprocessor / groups);
    const int64_t unit = r.warp_rows ? kWarpsPerBlock : 4;
    r.per_run = std::max<int64_t>(1, ceil_div(ceil_div(rows, wanted), unit)) * unit;
    r.runs = ceil_div(rows, r.per_run);
    return r;
}

template <class T>
__device__ __forceinline__ T* row_of(const View<T, 3>& v, int64_t row) {
    const int64_t b = row / v.shape[1], t = row - b * v.shape[1];
    return v.data + b * v.stride[0] + t * v.stride[1];
}

// The sums of N numbers over the lanes of a row, in every lane. For a block's row `room` holds 32 N floats, and another
// room must be given to the next call: one barrier.
template <bool kWarpRow, int N>
__device__ __forceinline__ void sum_over_row(float (&x)[N], float* room) {
#pragma unroll
    for (int i = 0; i < N; ++i) x[i] = warp_sum(x[i]);
    if constexpr (!kWarpRow) {
        const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
#pragma unroll
        for (int i = 0; i < N; ++i)
            if (threadIdx.x % kWarp == 0) room[warp * N + i] = x[i];
        __syncthreads();
#pragma unroll
        for (int i = 0; i < N; ++i) {
            x[i] = 0;
            for (int w = 0; w < warps; ++w) x[i] += room[w * N + i];
        }
    }
}

}  // namespace adder::cuda
