// The product of one step, y(b,:) = W input(b,:) for a few rows b in bf16 on tensor cores, in parts that
// kernels put together (step_parts.cuh).
//
// W is streamed once for every 16 rows, O I elements, and asked for before the kernel before has ended: at
// B = 1 the latency of one load is what is left. The rows are read once for every 8 outputs, from the
// second-level cache. A row's sum goes over I in an order that depends on I alone: not on B, the row's place,
// tiles, strides or alignment.
#pragma once
#include <algorithm>

#include "kernels/common/launch_step.cuh"
#include "kernels/common/multiprocessors.h"
#include "kernels/gemm/step_parts.cuh"

namespace adder::cuda::step {

// Mapping: block = 8 outputs and 16 rows; warp w takes the chunks w, w + 8, ... of I. The lanes of one
// instruction's row hold four neighbouring runs of eight k, of which it takes the first halves, then the
// second: which k meets which is the same in input and W, so the order inside an instruction does not matter,
// and all loads are 16 bytes. Order of sums: a warp's chunks one after the other, then the eight warps in
// order. Squares of a normed row: those of a lane, the four lanes of a row, the eight warps.
template <class Source, class Finish>
__global__ void __launch_bounds__(kThreads, 2) product_kernel(Problem p, Source source, Finish finish) {
    constexpr int kInFlight = 4;  // chunks that a warp loads before it uses the first
    __shared__ __align__(16) float room[kWarps][kRows][kOutputs];
    __shared__ float square_room[kWarps][kRows];
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, group = lane / 4, pair = lane % 4;
    const int o0 = blockIdx.x * kOutputs, b0 = blockIdx.y * kRows;
    Eight right[kInFlight], coming[kInFlight];
    const auto load_weights = [&](Eight(&to)[kInFlight], int chunk) {
        const int o = o0 + group;
#pragma unroll
        for (int j = 0; j < kInFlight; ++j)
            to[j] = load_eight<Source::kWide>(p.weight + min(o, p.O - 1) * p.weight_stride,
                                              (chunk + j * kWarps) * kChunk + pair * 8, p.I, o < p.O);
    };
    load_weights(right, warp);
    if (!p.late) release_next();
    wait_for_previous();  // the rows, not the weights, come from the kernel before
    if (p.late) release_next();
    // What the thread's output needs besides comes while the product is computed.
    static_assert(kRows * kOutputs <= kThreads);
    const int row = static_cast<int>(threadIdx.x) / kOutputs, column = threadIdx.x % kOutputs;
    const int b = b0 + row, o = o0 + column;
    const bool is_mine = row < kRows && b < p.B && o < p.O;
    typename Finish::Ahead ahead{};
    if (is_mine) ahead = finish.fetch(b, o);
    static_assert(kOutputs == kScaleLanes);
    const bool scales = source.scaled() && row < kRows;
    typename Source::RowScale row_scale;
    if (scales) source.fetch_scale(b, p, row_scale);

    float sum[4] = {}, squares[2] = {};
    for (int chunk = warp; chunk * kChunk < p.I; chunk += kWarps * kInFlight) {
        load_weights(coming, chunk + kWarps * kInFlight);
        Eight upper[kInFlight], lower[kInFlight];
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) {
            const int k = (chunk + j * kWarps) * kChunk + pair * 8;
            upper[j] = source.load(b0 + group, k, p, squares[0]);
            lower[j] = source.load(b0 + group + 8, k, p, squares[1]);
        }
#pragma unroll
        for (int j = 0; j < kInFlight; ++j)
#pragma unroll
            for (int half = 0; half < 4; half += 2)
                mma_16x8x16(
                    sum,
                    {upper[j].two[half], lower[j].two[half], upper[j].two[half + 1], lower[j].two[half + 1]},
                    {right[j].two[half], right[j].two[half + 1]});
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) right[j] = coming[j];
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float* const to = room[warp][group + half * 8];
        to[pair * 2] = sum[half * 2], to[pair * 2 + 1] = sum[half * 2 + 1];
        if constexpr (Source::kNormed) {
            const float of_warp = warp_sum<4>(squares[half]);
            if (pair == 0) square_room[warp][group + half * 8] = of_warp;
        }
    }
    const float scale = scales ? source.scale_of(b, p, row_scale) : 1;
    __syncthreads();
    if (!is_mine) return;
    float total = room[0][row][column];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) total += room[w][row][column];
    if constexpr (Source::kNormed) {
        float all = square_room[0][row];
#pragma unroll
        for (int w = 1; w < kWarps; ++w) all += square_room[w][row];
        total *= 1 / sqrtf(all / static_cast<float>(p.I) + source.eps);
    } else {
        total *= scale;
    }
    finish(b, o, total, ahead);
}

inline constexpr int kWeighWarps = 4;

// The rows of a norm for products of many tiles, which then read two bytes an element. Mapping: warp = one
// row; lane 4 w + i has what lane i of the row has in warp w of the product, and sums go in the same order,
// so that both ways give the same bits.
template <class Source>
__global__ void __launch_bounds__(kWeighWarps* kWarp)
    weigh_kernel(Problem p, Source source, bf16* rows, float* scale) {
    const int lane = threadIdx.x % kWarp,
              b = blockIdx.x * kWeighWarps + static_cast<int>(threadIdx.x) / kWarp;
    release_next();
    wait_for_previous();
    if (b >= p.B) return;
    constexpr int kInFlight = 3;
    float squares = 0;
    for (int k = lane * 8; k < p.I; k += kInFlight * kWarp * 8) {
        Eight e[kInFlight];
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) e[j] = source.load(b, k + j * kWarp * 8, p, squares);
#pragma unroll
        for (int j = 0; j < kInFlight; ++j)
            if (const int at = k + j * kWarp * 8; at < p.I)
                *reinterpret_cast<uint4*>(rows + int64_t{b} * p.I + at) =
                    make_uint4(e[j].two[0], e[j].two[1], e[j].two[2], e[j].two[3]);
    }
    const float of_four = warp_sum<4>(squares);
    float total = __shfl_sync(kFullWarp, of_four, 0);
#pragma unroll
    for (int w = 1; w < kWarps; ++w) total += __shfl_sync(kFullWarp, of_four, w * 4);
    if (lane == 0) scale[b] = 1 / sqrtf(total / static_cast<float>(p.I) + source.eps);
}

template <class Source, class Finish>
void start_product(cudaStream_t stream, const Problem& p, const Source& source, const Finish& finish) {
    const dim3 grid(blocks(ceil_div(p.O, kOutputs)), static_cast<unsigned>(ceil_div(p.B, kRows)));
    launch_step(stream, grid, kThreads, 0, product_kernel<Source, Finish>, p, source, finish);
}

inline int64_t blocks_of(const Problem& p, int tiles, int n) {
    return ceil_div(p.O, n * kOutputs) * ceil_div(p.B, tiles * kRows);
}
// The smallest tiles while they leave multiprocessors idle.
inline bool takes_small_tiles(const Problem& p) {
    return p.B <= kRows || blocks_of(p, 1, 1) <= 2 * kMultiprocessors;
}

}  // namespace adder::cuda::step
