// The product of step_product.cuh for many rows: a block's tile is large enough that W and the rows are read
// from the second-level cache a few times only, and all that a warp waits for is under way at once.
//
// Mapping and order of sums are those of product_kernel, so that a row has the same bits in either. What a lane
// loads it alone uses: each lane has a queue of 16-byte pieces in shared memory, kStages chunks deep, which
// asynchronous copies fill. Those of W begin before the kernel before has ended. A finished row of the tile is
// taken in fours of outputs.
#pragma once
#include <cstdint>
#include <cstdlib>

#include "kernels/gemm/step_product.cuh"

namespace adder::cuda::step {

template <int kTiles, int kN, int kStages>
struct WideShape {
    static constexpr int kPieces = 2 * kTiles + kN;  // of a lane and a chunk
    static constexpr int kBlockRows = kTiles * kRows, kColumns = kN * kOutputs, kFours = kColumns / 4;
    // The partial sums of a warp take the place of its queue.
    static constexpr int kQueueFloats = kStages * kPieces * kWarp * 4, kSumFloats = kBlockRows * kRoomRow<kN>;
    static constexpr int kWarpFloats = kQueueFloats > kSumFloats ? kQueueFloats : kSumFloats;
    static constexpr size_t kBytes = sizeof(float) * kWarps * kWarpFloats;
};

template <class Finish, int kTiles, int kN, int kStages>
__global__ void __launch_bounds__(kThreads, kTiles* kN > 8 ? 1 : 2)
    wide_kernel(Problem p, PlainRows<true> source, Finish finish) {
    using Shape = WideShape<kTiles, kN, kStages>;
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, group = lane / 4, pair = lane % 4;
    const int o0 = blockIdx.x * Shape::kColumns, b0 = blockIdx.y * Shape::kBlockRows;
    float* const sums = dynamic_shared<float>();
    uint4* const queue = reinterpret_cast<uint4*>(sums + warp * Shape::kWarpFloats) + lane;
    const int chunks = (p.I + kChunk - 1) / kChunk, mine = (chunks - warp + kWarps - 1) / kWarps;

    const bf16* const weight = p.weight + (o0 + group) * p.weight_stride;
    const bf16* const rows = source.x + (b0 + group) * source.stride;
    const auto copy_weights = [&](int stage, int j) {
        const int k = (warp + j * kWarps) * kChunk + pair * 8;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
            const bool valid = k < p.I && o0 + group + n * kOutputs < p.O;
            copy_16_async(queue + (stage * Shape::kPieces + 2 * kTiles + n) * kWarp,
                          valid ? weight + n * kOutputs * p.weight_stride + k : p.weight, valid);
        }
    };
    const auto copy_rows = [&](int stage, int j) {
        const int k = (warp + j * kWarps) * kChunk + pair * 8;
#pragma unroll
        for (int i = 0; i < 2 * kTiles; ++i) {
            const bool valid = k < p.I && b0 + group + i * 8 < p.B;
            copy_16_async(queue + (stage * Shape::kPieces + i) * kWarp,
                          valid ? rows + i * 8 * source.stride + k : source.x, valid);
        }
    };
#pragma unroll
    for (int s = 0; s < kStages; ++s)
        if (s < mine) copy_weights(s, s);
    const auto row_of = [&](int i) { return b0 + i / Shape::kFours; };
    const auto output_of = [&](int i) { return o0 + i % Shape::kFours * 4; };
    constexpr int kItems = Shape::kBlockRows * Shape::kFours;
    const auto is_there = [&](int i) { return i < kItems && row_of(i) < p.B && output_of(i) < p.O; };
    // What a thread's first outputs need comes while the product is computed.
    const int first = threadIdx.x;
    typename Finish::FourAhead ahead{};
    if (is_there(first)) finish.fetch_parameters(output_of(first), ahead);
    for (int i = first; i < kItems; i += kThreads)
        if (is_there(i)) finish.hint(row_of(i), output_of(i));
    hint_soon(p.soon);
    release_next();
    wait_for_previous();
#pragma unroll
    for (int s = 0; s < kStages; ++s) {
        if (s < mine) copy_rows(s, s);
        commit_copies();
    }
    if (is_there(first)) finish.fetch_rows(row_of(first), output_of(first), ahead);

    float sum[kTiles][kN][4] = {};
    for (int j = 0, stage = 0; j < mine; ++j, stage = stage + 1 == kStages ? 0 : stage + 1) {
        wait_copies<kStages - 1>();
        const uint4* const from = queue + stage * Shape::kPieces * kWarp;
        uint4 right[kN];
#pragma unroll
        for (int n = 0; n < kN; ++n) right[n] = from[(2 * kTiles + n) * kWarp];
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
            const uint4 upper = from[2 * tile * kWarp], lower = from[(2 * tile + 1) * kWarp];
#pragma unroll
            for (int n = 0; n < kN; ++n)
                mma_16x8x16(sum[tile][n], {upper.x, lower.x, upper.y, lower.y}, {right[n].x, right[n].y});
#pragma unroll
            for (int n = 0; n < kN; ++n)
                mma_16x8x16(sum[tile][n], {upper.z, lower.z, upper.w, lower.w}, {right[n].z, right[n].w});
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
            float* const to = sums + warp * Shape::kWarpFloats +
                              (tile * kRows + half * 8 + group) * kRoomRow<kN> + pair * 2;
#pragma unroll
            for (int n = 0; n < kN; ++n)
                *reinterpret_cast<float2*>(to + n * kOutputs) =
                    make_float2(sum[tile][n][half * 2], sum[tile][n][half * 2 + 1]);
        }
    __syncthreads();
    for (int i = first; i < kItems; i += kThreads) {
        if (!is_there(i)) continue;
        const float* const from = sums + (i / Shape::kFours) * kRoomRow<kN> + i % Shape::kFours * 4;
        float total[4];
        load<4>(from, total);
#pragma unroll
        for (int w = 1; w < kWarps; ++w) {
            float part[4];
            load<4>(from + w * Shape::kWarpFloats, part);
#pragma unroll
            for (int c = 0; c < 4; ++c) total[c] += part[c];
        }
        const int b = row_of(i), o = output_of(i);
        if (source.scale) {
            const float scale = source.scale[b];
#pragma unroll
            for (int c = 0; c < 4; ++c) total[c] *= scale;
        }
        if (i != first) {
            finish.fetch_parameters(o, ahead);
            finish.fetch_rows(b, o, ahead);
        }
        finish.four(b, o, min(4, p.O - o), total, ahead);
    }
}

template <int kTiles, int kN, int kStages, class Finish>
void start_wide(cudaStream_t stream, const Problem& p, const PlainRows<true>& rows, const Finish& finish) {
    const dim3 grid(blocks(ceil_div(p.O, kN * kOutputs)),
                    static_cast<unsigned>(ceil_div(p.B, kTiles * kRows)));
    launch_early(stream, grid, kThreads, WideShape<kTiles, kN, kStages>::kBytes,
                 wide_kernel<Finish, kTiles, kN, kStages>, p, rows, finish);
}

inline int knob(const char* name, int otherwise) {
    const char* v = std::getenv(name);
    return v ? std::atoi(v) : otherwise;
}

struct WideTile {
    int tiles, n;
};
inline constexpr WideTile kWideTiles[] = {{1, 1}, {1, 2}, {2, 1}, {2, 2}, {2, 3}, {4, 1}, {4, 2}, {4, 6}, {2, 3}, {4, 6}};
inline constexpr int kWideChoices = 8;

// The tile whose blocks, spread over the multiprocessors, have the least to read.
inline int choose_wide(const Problem& p) {
    int best = 0;
    int64_t least = INT64_MAX;
    for (int i = 0; i < kWideChoices; ++i) {
        const WideTile& t = kWideTiles[i];
        const int64_t cost = ceil_div(blocks_of(p, t.tiles, t.n), kMultiprocessors) * (2 * t.tiles + t.n);
        if (cost < least) least = cost, best = i;
    }
    return best;
}

// Any number of rows.
template <class Finish>
void multiply_rows(cudaStream_t stream, const Problem& p, const PlainRows<true>& rows, const Finish& finish,
                   const char* name) {
    static const int wide = knob("ADDER_WIDE", 17);
    if (p.B < wide) return start<1, 1>(stream, p, rows, finish);
    switch (p.O < 256 ? choose_wide(p) : knob(name, choose_wide(p))) {
        case 0: return start_wide<1, 1, 6>(stream, p, rows, finish);
        case 1: return start_wide<1, 2, 6>(stream, p, rows, finish);
        case 2: return start_wide<2, 1, 6>(stream, p, rows, finish);
        case 3: return start_wide<2, 2, 4>(stream, p, rows, finish);
        case 4: return start_wide<2, 3, 6>(stream, p, rows, finish);
        case 5: return start_wide<4, 1, 3>(stream, p, rows, finish);
        case 6: return start_wide<4, 2, 3>(stream, p, rows, finish);
        case 7: return start_wide<4, 6, 3>(stream, p, rows, finish);
        case 8: return start_wide<2, 3, 3>(stream, p, rows, finish);
        default: return start_wide<4, 6, 2>(stream, p, rows, finish);
    }
}

// The same with the norm of the rows; room for (B,I) rows, aligned to 16 bytes, and (B) scales. One kernel
// where blocks are few, two beyond.
template <class Source, class Finish>
void multiply_normed(cudaStream_t stream, const Problem& p, const Source& source, const Finish& finish,
                     bf16* rows, float* scale, const char* name) {
    if (takes_small_tiles(p)) return start<1, 1>(stream, p, source, finish);
    launch_early(stream, dim3(1, static_cast<unsigned>(ceil_div(p.B, kWeighWarps))), kWeighWarps * kWarp, 0,
                 weigh_kernel<Source>, p, source, rows, scale);
    multiply_rows(stream, p, {rows, p.I, scale}, finish, name);
}

}  // namespace adder::cuda::step
