// The product of step_product.cuh for many rows: a block's tile is large enough that W and the rows are read
// from the second-level cache a few times only, and all that a warp waits for is under way at once.
//
// Mapping and order of sums are those of product_kernel, so that a row has the same bits in either. What a
// lane loads it alone uses: each lane has a queue of 16-byte pieces in shared memory, up to kStages chunks
// deep, which asynchronous copies fill. Those of W begin before the kernel before has ended, so that tiles
// are wide rather than tall: the rows are what is waited for. A finished row of the tile is taken in fours of
// outputs, and what these need besides the sums is under way while the product is computed.
//
// The next kernel may start only when the rows are there, that is, when all before this kernel has ended.
#pragma once
#include <cstdint>

#include "kernels/common/shared_memory.h"
#include "kernels/gemm/step_product.cuh"

namespace adder::cuda::step {

// Floats of a row of partial sums: rows of several groups of outputs are spread over the banks.
template <int kN>
inline constexpr int kRoomRow = kN == 1 ? kOutputs : kN* kOutputs + 8;

// 16 kTiles rows, 8 kN outputs.
template <int kTiles_, int kN_, int kStages_>
struct Tile {
    static constexpr int kTiles = kTiles_, kN = kN_, kStages = kStages_;
    static constexpr int kPieces = 2 * kTiles + kN;  // of a lane and a chunk
    static constexpr int kBlockRows = kTiles * kRows, kColumns = kN * kOutputs, kFours = kColumns / 4;
    // A thread has one four of columns and every kPass-th row.
    static constexpr int kPass = kThreads / kFours, kMine = (kBlockRows + kPass - 1) / kPass;

    __host__ __device__ static int chunks(int I) { return (I + kChunk - 1) / kChunk; }
    // Of a warp; its partial sums take the place of its queue.
    __host__ __device__ static int room(int I) {
        constexpr int kSumFloats = kBlockRows * kRoomRow<kN>;
        const int all = (chunks(I) + kWarps - 1) / kWarps, stages = all < kStages ? all : kStages;
        const int queue = stages * kPieces * kWarp * 4;
        return queue > kSumFloats ? queue : kSumFloats;
    }
    // All warps' and, behind them, what belongs to the columns and the scales of the rows.
    template <class Finish>
    static size_t shared_bytes(int I) {
        return sizeof(float) * (kWarps * static_cast<size_t>(room(I)) + kBlockRows) +
               kFours * sizeof(typename Finish::FourParameters);
    }
    // What the least of blocks has to read, all of them spread over the multiprocessors. Rows count twice,
    // for W is read ahead. Endless where a block cannot have the shared memory, `limit` bytes at most.
    template <class Finish>
    static int64_t cost(const Problem& p, size_t limit) {
        if (shared_bytes<Finish>(p.I) > limit) return INT64_MAX;
        return ceil_div(blocks_of(p, kTiles, kN), kMultiprocessors) * (4 * kTiles + kN);
    }
};

template <class T, class Source, class Finish>
__global__ void __launch_bounds__(kThreads, T::kTiles* T::kN >= 8 ? 1 : 2)
    wide_kernel(Problem p, Source source, Finish finish) {
    static_assert(Source::kWide && !Source::kNormed);
    constexpr int kTiles = T::kTiles, kN = T::kN, kStages = T::kStages, kMine = T::kMine;
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, group = lane / 4, pair = lane % 4;
    const int o0 = blockIdx.x * T::kColumns, b0 = blockIdx.y * T::kBlockRows, room = T::room(p.I);
    float* const sums = dynamic_shared<float>();
    uint4* const queue = reinterpret_cast<uint4*>(sums + warp * room) + lane;
    const int mine = (T::chunks(p.I) - warp + kWarps - 1) / kWarps;

    const bf16* const weight = p.weight + (o0 + group) * p.weight_stride;
    const bf16* const rows = source.x + (b0 + group) * source.stride;
    const auto copy_weights = [&](int stage, int j) {
        const int k = (warp + j * kWarps) * kChunk + pair * 8;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
            const bool valid = k < p.I && o0 + group + n * kOutputs < p.O;
            copy_16_async(queue + (stage * T::kPieces + 2 * kTiles + n) * kWarp,
                          valid ? weight + n * kOutputs * p.weight_stride + k : p.weight, valid);
        }
    };
    const auto copy_rows = [&](int stage, int j) {
        const int k = (warp + j * kWarps) * kChunk + pair * 8;
#pragma unroll
        for (int i = 0; i < 2 * kTiles; ++i) {
            const bool valid = k < p.I && b0 + group + i * 8 < p.B;
            copy_16_async(queue + (stage * T::kPieces + i) * kWarp,
                          valid ? rows + i * 8 * source.stride + k : source.x, valid);
        }
    };
#pragma unroll
    for (int s = 0; s < kStages; ++s)
        if (s < mine) copy_weights(s, s);
    const int row0 = static_cast<int>(threadIdx.x) / T::kFours, four = threadIdx.x % T::kFours,
              o = o0 + four * 4;
    const int mine_end = row0 < T::kPass && o < p.O ? min(p.B - b0, T::kBlockRows) : 0;
    const auto row_of = [&](int m) { return row0 + m * T::kPass; };  // of the block
    typename Finish::FourRows before[kMine];
    const auto fetch_rows = [&] {
#pragma unroll
        for (int m = 0; m < kMine; ++m)
            if (row_of(m) < mine_end) finish.fetch(b0 + row_of(m), o, before[m]);
    };
    // Not in registers, of which the sums need most.
    float* const scales = sums + kWarps * room;  // of the block's rows; a multiple of 64 bytes
    auto* const parameters = reinterpret_cast<typename Finish::FourParameters*>(scales + T::kBlockRows);
    if (threadIdx.x < T::kFours && o < p.O) finish.fetch(o, parameters[threadIdx.x]);
    if (p.settled) fetch_rows();
    if (!p.late) release_next();
    wait_for_previous();
    if (p.late) release_next();
    // Asked for first, taken when all else is under way.
    static_assert(T::kBlockRows * kScaleLanes <= kThreads);
    const int scaled_row = static_cast<int>(threadIdx.x) / kScaleLanes;
    const bool makes_scale = source.scaled() && scaled_row < T::kBlockRows;
    typename Source::RowScale row_scale;
    if (makes_scale) source.fetch_scale(b0 + scaled_row, p, row_scale);
#pragma unroll
    for (int s = 0; s < kStages; ++s) {
        if (s < mine) copy_rows(s, s);
        commit_copies();
    }
    if (!p.settled) fetch_rows();
    if (makes_scale) {
        const float scale = source.scale_of(b0 + scaled_row, p, row_scale);
        if (threadIdx.x % kScaleLanes == 0) scales[scaled_row] = scale;
    }

    float sum[kTiles][kN][4] = {};
    for (int j = 0, stage = 0; j < mine; ++j, stage = stage + 1 == kStages ? 0 : stage + 1) {
        wait_copies<kStages - 1>();
        const uint4* const from = queue + stage * T::kPieces * kWarp;
        uint4 left[2 * kTiles];
#pragma unroll
        for (int i = 0; i < 2 * kTiles; ++i) left[i] = from[i * kWarp];
#pragma unroll
        for (int n = 0; n < kN; ++n) {
            const uint4 right = from[(2 * kTiles + n) * kWarp];
#pragma unroll
            for (int tile = 0; tile < kTiles; ++tile) {
                const uint4 &upper = left[2 * tile], &lower = left[2 * tile + 1];
                mma_16x8x16(sum[tile][n], {upper.x, lower.x, upper.y, lower.y}, {right.x, right.y});
                mma_16x8x16(sum[tile][n], {upper.z, lower.z, upper.w, lower.w}, {right.z, right.w});
            }
        }
        if (j + kStages < mine) {
            copy_weights(stage, j + kStages);
            copy_rows(stage, j + kStages);
        }
        commit_copies();
    }
    __syncwarp();  // all lanes have taken what was in their queues
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float* const to =
                sums + warp * room + (tile * kRows + half * 8 + group) * kRoomRow<kN> + pair * 2;
#pragma unroll
            for (int n = 0; n < kN; ++n)
                *reinterpret_cast<float2*>(to + n * kOutputs) =
                    make_float2(sum[tile][n][half * 2], sum[tile][n][half * 2 + 1]);
        }
    __syncthreads();
#pragma unroll
    for (int m = 0; m < kMine; ++m) {
        if (row_of(m) >= mine_end) break;
        const float* const from = sums + row_of(m) * kRoomRow<kN> + four * 4;
        float total[4];
        load<4>(from, total);
#pragma unroll
        for (int w = 1; w < kWarps; ++w) {
            float part[4];
            load<4>(from + w * room, part);
#pragma unroll
            for (int c = 0; c < 4; ++c) total[c] += part[c];
        }
        if (source.scaled())
#pragma unroll
            for (int c = 0; c < 4; ++c) total[c] *= scales[row_of(m)];
        finish.four(b0 + row_of(m), o, min(4, p.O - o), total, parameters[four], before[m]);
    }
}

template <class T, class Source, class Finish>
void start_wide(cudaStream_t stream, const Problem& p, const Source& rows, const Finish& finish) {
    const dim3 grid(blocks(ceil_div(p.O, T::kColumns)), static_cast<unsigned>(ceil_div(p.B, T::kBlockRows)));
    launch_step(stream, grid, kThreads, T::template shared_bytes<Finish>(p.I), wide_kernel<T, Source, Finish>,
                p, rows, finish);
}

// The cheapest of these tiles, the first where several are; the first needs least.
template <class First, class... T, class Source, class Finish>
void start_cheapest(cudaStream_t stream, const Problem& p, const Source& rows, const Finish& finish) {
    if constexpr (sizeof...(T) > 0) {
        const size_t limit = most_shared_bytes();
        if (std::min({T::template cost<Finish>(p, limit)...}) < First::template cost<Finish>(p, limit))
            return start_cheapest<T...>(stream, p, rows, finish);
    }
    start_wide<First>(stream, p, rows, finish);
}

// Any number of rows that are aligned.
template <class Source, class Finish>
void multiply_rows(cudaStream_t stream, const Problem& p, const Source& rows, const Finish& finish) {
    if (p.B <= kRows) return start_product(stream, p, rows, finish);
    if constexpr (Finish::kManyOutputs) {
        if (blocks_of(p, 1, 1) <= kMultiprocessors) return start_product(stream, p, rows, finish);
        start_cheapest<Tile<2, 2, 4>, Tile<2, 3, 4>, Tile<2, 4, 3>, Tile<2, 12, 3>>(stream, p, rows, finish);
    } else {
        start_cheapest<Tile<1, 1, 6>, Tile<1, 2, 6>, Tile<1, 6, 3>>(stream, p, rows, finish);
    }
}

// The same with the norm of the rows; room for (B,I) rows, aligned to 16 bytes, and (B) scales. One kernel
// where blocks are few, two beyond.
template <class Source, class Finish>
void multiply_normed(cudaStream_t stream, const Problem& p, const Source& source, const Finish& finish,
                     bf16* rows, float* scale) {
    if (takes_small_tiles(p)) return start_product(stream, p, source, finish);
    launch_step(stream, dim3(blocks(ceil_div(p.B, kWeighWarps))), kWeighWarps * kWarp, 0,
                weigh_kernel<Source>, p, source, rows, scale);
    multiply_rows(stream, p, PlainRows<true>{rows, p.I, scale}, finish);
}

}  // namespace adder::cuda::step
