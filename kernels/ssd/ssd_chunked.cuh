// What a block of the chunked walk (ssd_chunked.cu) has in shared memory, and how chunks come there.
#pragma once
#include "kernels/ssd/ssd_forward.cuh"

namespace adder::cuda::chunked {

inline constexpr int kWarps = 2 * kSsdPanelsOfBlock, kThreads = kWarps * kWarp;
inline constexpr int kQ = kChunk, kWarpP = 32;
static_assert(kThreads == kSsdPanelsOfBlock * kQ && kSsdPanel == 64);
inline constexpr int kTile = kQ * 64;  // all tiles are 64 columns wide, so that their fragments lie alike
// 16 x 16 blocks on and below the diagonal of a chunk: (r, c) is block r (r + 1) / 2 + c.
inline constexpr int kBlocks = 10;

template <int N>
struct alignas(128) Stage {
    bf16 C[N / 64][kTile], B[N / 64][kTile], x[kSsdPanelsOfBlock][kTile];
    float sum[kSsdPanelsOfBlock][kQ], column[kSsdPanelsOfBlock][kQ];
};
// Two of these fit into a multiprocessor.
template <int N>
struct alignas(128) Shared {
    Stage<N> stage[2];
    uint4 decayed[kSsdPanelsOfBlock][kBlocks][kWarp];  // blocks of C B^T with decays and gains: each lane's fragment
    bf16 room[kWarps][16 * kWarpP];        // of each warp, to turn what it writes into rows
    float to_end[kSsdPanelsOfBlock][kQ];   // decay from after step j, times b_j; 0 before the last start
};

// Copies the tiles of chunk after chunk. A thread copies 8 columns of every few rows.
template <int N>
struct Loader {
    static constexpr int kRowsN = kThreads / (N / 8);                 // rows of B or C that the block copies at once
    static constexpr int kHalf = kThreads / kSsdPanelsOfBlock;        // each half of the block copies its own panel
    static constexpr int kRowsX = kHalf / (kSsdPanel / 8);

    const SsdWalk<bf16>& w;
    const bf16 *B, *C, *x;  // of this thread's first row of the next chunk
    int64_t steps;          // where the scalars of the next chunk lie
    bool some_x;
    int thread;

    __device__ int half() const { return thread % kHalf; }
    __device__ int unit() const { return thread / kHalf; }
    __device__ int row_n() const { return thread / (N / 8); }
    __device__ int col_n() const { return thread % (N / 8) * 8; }
    __device__ int row_x() const { return half() / (kSsdPanel / 8); }
    __device__ int col_x() const { return half() % (kSsdPanel / 8) * 8; }

    __device__ Loader(const SsdWalk<bf16>& walk, int b, int g, int h, int p0, int channels, int64_t chunk) : w(walk) {
        thread = thread_here();
        some_x = col_x() < channels;
        const auto from = [&](const View<const bf16, 3>& v, int row, int col) {
            return v.data + b * v.stride[0] + (chunk * kQ + row) * v.stride[1] + col;
        };
        B = from(w.in.Bm, row_n(), g * w.in.N + col_n()), C = from(w.in.C, row_n(), g * w.in.N + col_n());
        x = from(w.in.x, row_x(), h * w.in.P + p0 + col_x());
        steps = w.steps.row(b, h, w.in.H, chunk) + 4 * half();
    }

    template <int Rows>
    static __device__ __forceinline__ void rows(bf16* to, const bf16* from, int64_t stride, int row, bool some, int left) {
        if (left >= kQ && some) {
#pragma unroll
            for (int k = 0; k < kQ / Rows; ++k) copy_16_async(to + k * Rows * 64, from + k * Rows * stride);
        } else {
#pragma unroll
            for (int k = 0; k < kQ / Rows; ++k)
                copy_16_async(to + k * Rows * 64, from + k * Rows * stride, some && row + k * Rows < left);
        }
    }

    // `left` steps are from the chunk's first to the sequence's end.
    __device__ __forceinline__ void next(Stage<N>& to, int left) {
        thread = thread_here();
        const int at_n = col_n() / 64 * kTile + tile_at<64>(row_n(), col_n() % 64);
        const bool some_n = col_n() < w.in.N;
        rows<kRowsN>(to.B[0] + at_n, B, w.in.Bm.stride[1], row_n(), some_n, left);
        if (w.y) rows<kRowsN>(to.C[0] + at_n, C, w.in.C.stride[1], row_n(), some_n, left);
        rows<kRowsX>(to.x[unit()] + tile_at<64>(row_x(), col_x()), x, w.in.x.stride[1], row_x(), some_x, left);
        if (half() < kQ / 4) {
            copy_16_async(to.sum[unit()] + 4 * half(), w.steps.hi + steps);
            copy_16_async(to.column[unit()] + 4 * half(), w.steps.column + steps);
        }
        commit_copies();
        B += kQ * w.in.Bm.stride[1], C += kQ * w.in.C.stride[1], x += kQ * w.in.x.stride[1], steps += kQ;
    }
};

}  // namespace adder::cuda::chunked
