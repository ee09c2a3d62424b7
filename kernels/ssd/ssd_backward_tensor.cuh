// What the tensor core kernels of the backward of ssd.h share: tiles come in, rows of fragments go out.
#pragma once
#include "kernels/ssd/ssd_backward.cuh"

namespace adder::cuda {

inline constexpr int kTileP = 64, kTileN = 128;

// A pair of f32 as two pairs of bf16, whose sum is as good as 16 bits: what decays have scaled would otherwise be
// rounded a second time.
__device__ __forceinline__ void split_bf16(uint32_t& high, uint32_t& low, float x, float y) {
    high = pack_bf16(x, y);
    low = pack_bf16(x - low_bf16(high), y - high_bf16(high));
}

// Starts bringing columns [0, cols) of steps [begin, end) into a tile; `from` is step 0. Zeros elsewhere.
template <int W, int Threads>
__device__ __forceinline__ void bring(bf16* tile, const bf16* from, int64_t stride, int begin, int end, int cols,
                                      bool vector) {
    for (int i = static_cast<int>(threadIdx.x); i < 64 * (W / 8); i += Threads) {
        const int r = i / (W / 8), c = i % (W / 8) * 8;
        const bool valid = r >= begin && r < end && c < cols;
        bf16* to = tile + tile_at<W>(r, c);
        if (vector) {
            copy_16_async(to, valid ? from + r * stride + c : from, valid);
        } else {
            Pack<bf16, 8> pack;
#pragma unroll
            for (int k = 0; k < 8; ++k) pack.item[k] = valid && c + k < cols ? from[r * stride + c + k] : bf16{0};
            *reinterpret_cast<Pack<bf16, 8>*>(to) = pack;
        }
    }
}

// The row of accumulators that a lane shares with its quad: two 16 x 8 tiles side by side, columns [n0, n0 +
// 16) of the row at `to`. Neighbouring lanes swap halves, so that the quad stores 32 bytes. All lanes take
// part.
__device__ __forceinline__ void store_row_16(bf16* to, int n0, int cols, const float2& first, const float2& second,
                                             bool vector, bool valid) {
    const int pair = static_cast<int>(threadIdx.x) % 4;
    const bool odd = pair % 2 != 0;
    const uint32_t mine[2] = {pack_bf16(first.x, first.y), pack_bf16(second.x, second.y)};
    const uint32_t other = __shfl_xor_sync(kFullWarp, odd ? mine[0] : mine[1], 1);
    const uint2 words = odd ? make_uint2(other, mine[1]) : make_uint2(mine[0], other);
    const int n = n0 + pair % 2 * 8 + pair / 2 * 4;
    if (!valid || n >= cols) return;
    if (vector) {
        *reinterpret_cast<uint2*>(to + n) = words;
        return;
    }
    const uint32_t word[2] = {words.x, words.y};
#pragma unroll
    for (int k = 0; k < 4; ++k)
        if (n + k < cols) to[n + k] = bf16{static_cast<uint16_t>(word[k / 2] >> (k % 2 * 16))};
}

}  // namespace adder::cuda
