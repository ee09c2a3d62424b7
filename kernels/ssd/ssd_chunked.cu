// The walk over segments of ssd.h by products of chunks of Q = 64 steps, on tensor cores. With s the sums of log decays
// (base 2) within a chunk, b the gains, h the state before the chunk:
//   y = (C B^T o exp2(s_i - s_j) b_j, j <= i, of one member) x + exp2(s_i) C h^T + D x
//   h = exp2(s_end) h + sum over j of exp2(s_end - s_j) b_j x_j (outer) B_j
// Source: Dao & Gu 2024 (arXiv 2405.21060), section 6.
//
// A block owns two panels (64 channels of a head each) of one group and walks one segment of one sequence in order. Its
// warps 2u and 2u + 1 own 32 channels each of panel u: their part of h stays in f32 accumulators (p along the rows, n along
// the columns), and as rounded pairs those are at once the fragments that C h^T wants. C B^T is made once for both panels,
// the ten 16 x 16 blocks on and below the diagonal shared out over the warps; whoever makes a block multiplies it with the
// decays of both heads and hands it on as fragments. Two buffers of B, C, x and scalars: a chunk is copied while the one
// before is computed. Two barriers a chunk, one more where a member starts.
// Starts select: sums begin anew, rows of C h^T and pairs of steps are selected, and in a chunk with a start values of x
// that are not finite are taken out and put back into the results that they belong to, as zero times NaN is NaN.
// Sums over steps and states: in the order of the tensor cores, chunk after chunk; no two blocks add to one number.
//
// Products (of 2,048 multiply-adds) per chunk and head at P = 64, N = 128: C B^T 80 for two heads, times x 80, C h^T 256,
// update 256; the first walk has the update alone. Bytes per step and head: 4 P + 8 and, for two heads, 4 N from the
// second-level cache; kept states add P N / 32. Shared memory moves about 2.4 KB per step and head, so that it and the
// tensor cores have their floors close together: 1,100 cycles per chunk and head of a multiprocessor of 128 bytes and
// 1,300 multiply-adds a cycle.
#include "kernels/ssd/ssd_forward.cuh"

namespace adder::cuda {

namespace {

constexpr int kWarps = 2 * kSsdPanelsOfBlock, kThreads = kWarps * kWarp;
constexpr int kQ = kChunk, kWarpP = 32;
static_assert(kThreads == kSsdPanelsOfBlock * kQ);
// 16 x 16 blocks on and below the diagonal of a chunk: (r, c) is block r (r + 1) / 2 + c.
constexpr int kBlocks = 10;

template <int N>
struct alignas(128) Stage {
    bf16 C[kQ * N], B[kQ * N], x[kSsdPanelsOfBlock][kQ * kSsdPanel];
    float sum[kSsdPanelsOfBlock][kQ], column[kSsdPanelsOfBlock][kQ];
};
// Two of these fit into a multiprocessor.
template <int N>
struct alignas(128) Shared {
    Stage<N> stage[2];
    uint4 decayed[kSsdPanelsOfBlock][kBlocks][kWarp];  // blocks of C B^T with decays and gains: each lane's fragment
    bf16 y[kWarps][16 * kWarpP];
    float to_end[kSsdPanelsOfBlock][kQ];  // decay from after step j, times b_j; 0 before the last start
};

__device__ __forceinline__ float nan_f32() { return __int_as_float(0x7fc00000); }
__device__ __forceinline__ bool any_not_finite(uint32_t two) {
    return (((two & 0x7f807f80u) + 0x00800080u) & 0x80008000u) != 0;
}
__device__ __forceinline__ bool any_not_finite(const uint4& x) {
    return any_not_finite(x.x) || any_not_finite(x.y) || any_not_finite(x.z) || any_not_finite(x.w);
}

// Copies the tiles of chunk after chunk. A thread copies 8 columns of every few rows.
template <int N>
struct Loader {
    static constexpr int kRowsN = kThreads / (N / 8);                 // rows of B or C that the block copies at once
    static constexpr int kHalf = kThreads / kSsdPanelsOfBlock;        // each half of the block copies its own panel
    static constexpr int kRowsX = kHalf / (kSsdPanel / 8);

    const bf16 *B, *C, *x;  // of this thread's first row of the next chunk
    const float *sum, *column;
    int64_t stride_B, stride_C, stride_x, left;  // steps from the next chunk's first to the sequence's end
    int at_n, at_x, row_n, row_x, i0, unit;
    bool some_n, some_x, with_C;

    __device__ Loader(const SsdWalk<bf16>& w, int b, int g, int h, int p0, int channels, int64_t chunk) {
        const int t = static_cast<int>(threadIdx.x);
        unit = t / kHalf, i0 = t % kHalf;
        row_n = t / (N / 8), row_x = i0 / (kSsdPanel / 8);
        const int col_n = t % (N / 8) * 8, col_x = i0 % (kSsdPanel / 8) * 8;
        some_n = col_n < w.in.N, some_x = col_x < channels, with_C = static_cast<bool>(w.y);
        at_n = tile_at<N>(row_n, col_n), at_x = tile_at<kSsdPanel>(row_x, col_x);
        const auto from = [&](const View<const bf16, 3>& v, int row, int col) {
            return v.data + b * v.stride[0] + (chunk * kQ + row) * v.stride[1] + col;
        };
        B = from(w.in.Bm, row_n, g * w.in.N + col_n), C = from(w.in.C, row_n, g * w.in.N + col_n);
        x = from(w.in.x, row_x, h * w.in.P + p0 + col_x);
        stride_B = w.in.Bm.stride[1], stride_C = w.in.C.stride[1], stride_x = w.in.x.stride[1];
        left = w.in.L - chunk * kQ;
        const int64_t row = w.steps.row(b, h, w.in.H, chunk) + 4 * i0;
        sum = w.steps.hi + row, column = w.steps.column + row;
    }

    template <int Rows, int W>
    static __device__ __forceinline__ void rows(bf16* to, const bf16* from, int64_t stride, int row, bool some, int64_t left) {
        if (left >= kQ && some) {
#pragma unroll
            for (int k = 0; k < kQ / Rows; ++k) copy_16_async(to + k * Rows * W, from + k * Rows * stride);
        } else {
#pragma unroll
            for (int k = 0; k < kQ / Rows; ++k)
                copy_16_async(to + k * Rows * W, from + k * Rows * stride, some && row + k * Rows < left);
        }
    }

    __device__ __forceinline__ void next(Stage<N>& to) {
        rows<kRowsN, N>(to.B + at_n, B, stride_B, row_n, some_n, left);
        if (with_C) rows<kRowsN, N>(to.C + at_n, C, stride_C, row_n, some_n, left);
        rows<kRowsX, kSsdPanel>(to.x[unit] + at_x, x, stride_x, row_x, some_x, left);
        if (i0 < kQ / 4) {
            copy_16_async(to.sum[unit] + 4 * i0, sum);
            copy_16_async(to.column[unit] + 4 * i0, column);
        }
        commit_copies();
        B += kQ * stride_B, C += kQ * stride_C, x += kQ * stride_x, sum += kQ, column += kQ, left -= kQ;
    }
};

// A warp and its part of the block's work.
template <int N>
struct Worker {
    static constexpr int kTilesN = N / 8;

    const SsdWalk<bf16>& w;
    Shared<N>& shared;
    int lane, warp, unit, b, g, h, p0, channels;  // of this warp's panel; no channels: there is no such panel
    int64_t segment;
    bf16* y;      // where this lane writes 8 channels of the next row
    float D;
    float state[2][kTilesN][4];  // rows p0 + 16 m + lane / 4 (+ 8), columns 8 k + lane % 4 * 2 (+ 1)

    __device__ Worker(const SsdWalk<bf16>& walk, Shared<N>& room) : w(walk), shared(room) {
        lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp, unit = warp / 2;
        const int panels = (w.in.P + kSsdPanel - 1) / kSsdPanel, panels_of_group = w.in.H / w.in.G * panels;
        const int pairs = (panels_of_group + kSsdPanelsOfBlock - 1) / kSsdPanelsOfBlock;
        const int along = static_cast<int>(blockIdx.x % (w.in.G * pairs));
        const int rest = static_cast<int>(blockIdx.x / (w.in.G * pairs));
        b = rest % w.in.B, segment = w.first + rest / w.in.B, g = along / pairs;
        const int panel = along % pairs * kSsdPanelsOfBlock + unit;
        const bool some = panel < panels_of_group;
        h = g * (w.in.H / w.in.G) + (some ? panel / panels : 0), p0 = some ? panel % panels * kSsdPanel : 0;
        channels = some ? min(w.in.P - p0, kSsdPanel) : 0;
        D = w.in.D[h];
        y = w.y ? &w.y(b, segment * w.segment_chunks * kQ + row(), h * w.in.P + p0 + warp_p() + lane % 4 * 8) : nullptr;
    }

    __device__ int row() const { return lane / 4; }
    __device__ int pair() const { return lane % 4 * 2; }
    // The first channel of this warp within its panel.
    __device__ int warp_p() const { return warp % 2 * kWarpP; }

    // f(m, half, p of the head) for the rows of h that this lane owns.
    template <class F>
    __device__ __forceinline__ void each_row(F&& f) {
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half)
                if (const int c = warp_p() + 16 * m + 8 * half + row(); c < channels) f(m, half, p0 + c);
    }

    // h := the state before the segment, f32 pairs at from(p) + n.
    template <class F>
    __device__ __forceinline__ void begin(F&& from) {
        each_row([&](int m, int half, int p) {
            const float* at = from(p) + pair();
#pragma unroll
            for (int k = 0; k < kTilesN; ++k)
                if (8 * k < w.in.N) state[m][k][2 * half] = at[8 * k], state[m][k][2 * half + 1] = at[8 * k + 1];
        });
    }
    template <class F>
    __device__ __forceinline__ void end(F&& to) {
        each_row([&](int m, int half, int p) {
            float* at = to(p) + pair();
#pragma unroll
            for (int k = 0; k < kTilesN; ++k)
                if (8 * k < w.in.N) at[8 * k] = state[m][k][2 * half], at[8 * k + 1] = state[m][k][2 * half + 1];
        });
    }
    __device__ __forceinline__ void keep(bf16* kept) {
        each_row([&](int m, int half, int p) {
            bf16* at = kept + p * w.in.N + pair();
#pragma unroll
            for (int k = 0; k < kTilesN; ++k)
                if (8 * k < w.in.N)
                    *reinterpret_cast<uint32_t*>(at + 8 * k) = pack_bf16(state[m][k][2 * half], state[m][k][2 * half + 1]);
        });
    }

    // A thread makes that of one step of one panel.
    template <bool Starts>
    __device__ __forceinline__ void make_to_end(const Stage<N>& in, const ChunkStarts& starts) {
        const int i = static_cast<int>(threadIdx.x) % kQ;
        const float decay = exp2_approx(in.sum[unit][kQ - 1] - in.column[unit][i]);
        shared.to_end[unit][i] = Starts && i < starts.last() ? 0.0f : decay;
    }

    // Block (i0, j0) of C B^T with the decays and gains of both heads. An accumulator's lanes are those of a fragment.
    template <bool Starts>
    __device__ __forceinline__ void hand_on(const float (&products)[2][4], const Stage<N>& in, const ChunkStarts& starts,
                                            int block, int i0, int j0) {
#pragma unroll
        for (int u = 0; u < kSsdPanelsOfBlock; ++u) {
            const float sum[2] = {in.sum[u][i0 + row()], in.sum[u][i0 + 8 + row()]};
            uint32_t a[4];
#pragma unroll
            for (int q = 0; q < 4; ++q) {  // rows + 8 at odd places, columns + 8 from the third on
                const float2 column = *reinterpret_cast<const float2*>(&in.column[u][j0 + q / 2 * 8 + pair()]);
                float v[2] = {products[q / 2][q % 2 * 2] * exp2_approx(sum[q % 2] - column.x),
                              products[q / 2][q % 2 * 2 + 1] * exp2_approx(sum[q % 2] - column.y)};
                if (Starts || i0 == j0) {
                    const int i = i0 + q % 2 * 8 + row(), j = j0 + q / 2 * 8 + pair();
#pragma unroll
                    for (int e = 0; e < 2; ++e)
                        if (j + e > i || (Starts && !starts.joined(j + e, i))) v[e] = 0;
                }
                a[q] = pack_bf16(v[0], v[1]);
            }
            shared.decayed[u][block][lane] = make_uint4(a[0], a[1], a[2], a[3]);
        }
    }

    // The blocks that this warp makes: 6 and 7, 8 and 9, 3 to 5, 0 to 2. All but the first are in one row.
    template <bool Starts>
    __device__ __forceinline__ void make_decayed(const Stage<N>& in, const ChunkStarts& starts) {
        const int count = warp < 2 ? 2 : 3, first = warp < 2 ? 6 + 2 * warp : warp == 2 ? 3 : 0;
        const int rows[2] = {warp < 2 ? 48 : warp == 2 ? 32 : 0, warp < 2 ? 48 : warp == 2 ? 32 : 16};
        const int cols[3] = {warp == 1 ? 32 : 0, warp == 0 || warp == 2 ? 16 : warp == 1 ? 48 : 0, warp == 2 ? 32 : 16};
        float products[3][2][4] = {};
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            uint32_t a[2][4];
            load_a<N>(a[0], in.C, rows[0], n);
            load_a<N>(a[1], in.C, rows[1], n);
#pragma unroll
            for (int k = 0; k < 3; ++k) {
                if (k >= count) break;
                uint32_t keys[4];
                load_b2_transposed<N>(keys, in.B, n, cols[k]);
                mma_2(products[k][0], products[k][1], a[k > 0], keys);
            }
        }
#pragma unroll
        for (int k = 0; k < 3; ++k)
            if (k < count) hand_on<Starts>(products[k], in, starts, first + k, rows[k > 0], cols[k]);
    }

    // acc[m][.] := exp2(s_i) C h^T for steps i0 + 16 m + 0..15 and the 32 channels of this warp.
    template <bool Starts>
    __device__ __forceinline__ void from_state(float (&acc)[2][4][4], const Stage<N>& in, const ChunkStarts& starts, int i0) {
#pragma unroll
        for (int k = 0; k < N / 16; ++k) {
            uint32_t a[2][4];
            load_a<N>(a[0], in.C, i0, 16 * k);
            load_a<N>(a[1], in.C, i0 + 16, 16 * k);
#pragma unroll
            for (int t = 0; t < 4; ++t) {
                const float* left = &state[t / 2][2 * k][t % 2 * 2];
                const float* right = &state[t / 2][2 * k + 1][t % 2 * 2];
                const uint32_t keys[2] = {pack_bf16(left[0], left[1]), pack_bf16(right[0], right[1])};
                mma_16x8x16(acc[0][t], a[0], keys);
                mma_16x8x16(acc[1][t], a[1], keys);
            }
        }
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int i = i0 + 16 * m + 8 * half + row();
                const float decay = exp2_approx(in.sum[unit][i]);
#pragma unroll
                for (int t = 0; t < 4; ++t)
#pragma unroll
                    for (int e = 2 * half; e < 2 * half + 2; ++e)
                        acc[m][t][e] = Starts && i >= starts.first() ? 0.0f : acc[m][t][e] * decay;
            }
    }

    // acc += (decayed products) x.
    __device__ __forceinline__ void from_chunk(float (&acc)[2][4][4], const Stage<N>& in, int i0) {
#pragma unroll
        for (int j0 = 0; j0 < i0 + 32; j0 += 16) {
            uint32_t x[2][4];
            load_b2<kSsdPanel>(x[0], in.x[unit], j0, warp_p());
            load_b2<kSsdPanel>(x[1], in.x[unit], j0, warp_p() + 16);
#pragma unroll
            for (int m = 0; m < 2; ++m) {
                const int r = i0 / 16 + m;
                if (j0 > 16 * r) continue;
                const uint4 four = shared.decayed[unit][r * (r + 1) / 2 + j0 / 16][lane];
                const uint32_t a[4] = {four.x, four.y, four.z, four.w};
                mma_2(acc[m][0], acc[m][1], a, x[0]);
                mma_2(acc[m][2], acc[m][3], a, x[1]);
            }
        }
    }

    // Adds D x to 16 rows of y and writes them, 16 bytes a lane, through shared memory. Within eight rows a lane's places
    // are one exclusive or apart.
    __device__ __forceinline__ void write_rows(float (&acc)[4][4], const Stage<N>& in, int rows, int i0) {
        bf16* room = shared.y[warp];
        const int x_at = tile_at<kSsdPanel>(row(), warp_p() + pair());
        const int room_at = row() * kWarpP + ((row() / 2 % 4) << 3);
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
            for (int t = 0; t < 4; ++t) {
                const uint32_t x =
                    *reinterpret_cast<const uint32_t*>(in.x[unit] + (x_at ^ (8 * t)) + (i0 + 8 * half) * kSsdPanel);
                *reinterpret_cast<uint32_t*>(room + ((room_at ^ (8 * t)) | pair()) + 8 * half * kWarpP) =
                    pack_bf16(acc[t][2 * half] + D * low_bf16(x), acc[t][2 * half + 1] + D * high_bf16(x));
            }
        __syncwarp();
        const bool some = warp_p() + lane % 4 * 8 < channels;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            if (some && i0 + 8 * half + row() < rows)
                *reinterpret_cast<uint4*>(y) =
                    *reinterpret_cast<const uint4*>(room + (room_at ^ (lane % 4 * 8)) + 8 * half * kWarpP);
            y += 8 * w.y.stride[1];
        }
        __syncwarp();
    }

    // In a chunk with a start: sets values of x that are not finite to zero in this warp's columns; returns for column
    // `lane` of the warp at which steps there were any.
    __device__ uint64_t take_out_not_finite(Stage<N>& in) {
        bool found = false;
        for (int r = row(); r < kQ; r += 8)
            found |= any_not_finite(
                *reinterpret_cast<const uint4*>(in.x[unit] + tile_at<kSsdPanel>(r, warp_p() + lane % 4 * 8)));
        if (!__any_sync(kFullWarp, found)) return 0;
        uint64_t steps = 0;
        for (int r = 0; r < kQ; ++r) {
            bf16& x = in.x[unit][tile_at<kSsdPanel>(r, warp_p() + lane)];
            if (any_not_finite(x.bits)) x = bf16{0}, steps |= uint64_t{1} << r;
        }
        __syncwarp();
        return steps;
    }

    // Puts them back into y: NaN where a step of `taken` up to row i, of its member, reaches column c of the warp.
    __device__ __forceinline__ void put_back(float (&acc)[2][4][4], const ChunkStarts& starts, uint64_t taken, int i0) {
#pragma unroll
        for (int t = 0; t < 4; ++t)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                const uint64_t steps = __shfl_sync(kFullWarp, taken, 8 * t + pair() + e);
#pragma unroll
                for (int m = 0; m < 2; ++m)
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const int i = i0 + 16 * m + 8 * half + row(), begin = starts.last_until(i);
                        const uint64_t reach = (~0ull >> (63 - i)) & (~0ull << (begin < 0 ? 0 : begin));
                        if (steps & reach) acc[m][t][2 * half + e] = nan_f32();
                    }
            }
    }
    // And into h, after the update.
    __device__ __forceinline__ void put_back(const ChunkStarts& starts, uint64_t taken) {
        const bool reached = (taken >> starts.last()) != 0;
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half)
                if (__shfl_sync(kFullWarp, static_cast<int>(reached), 16 * m + 8 * half + row()))
#pragma unroll
                    for (int k = 0; k < kTilesN; ++k) state[m][k][2 * half] = state[m][k][2 * half + 1] = nan_f32();
    }
    // Rows of B from before the last start, which the update multiplies with zero.
    __device__ void clear_cut_rows(Stage<N>& in, const ChunkStarts& starts) {
        for (int i = static_cast<int>(threadIdx.x); i < starts.last() * (N / 8); i += kThreads)
            *reinterpret_cast<uint4*>(in.B + 8 * i) = make_uint4(0, 0, 0, 0);
    }

    // `rows` steps of the chunk are before the end.
    template <bool Starts>
    __device__ __forceinline__ void make_y(const Stage<N>& in, const ChunkStarts& starts, uint64_t taken, int rows) {
#pragma unroll
        for (int i0 = 0; i0 < kQ; i0 += 32) {
            float acc[2][4][4] = {};
            from_state<Starts>(acc, in, starts, i0);
            from_chunk(acc, in, i0);
            if (Starts && __any_sync(kFullWarp, taken != 0)) put_back(acc, starts, taken, i0);
            write_rows(acc[0], in, rows, i0);
            write_rows(acc[1], in, rows, i0 + 16);
        }
    }

    template <bool Starts>
    __device__ __forceinline__ void advance(const Stage<N>& in) {
        const float decay = exp2_approx(in.sum[unit][kQ - 1]);
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int k = 0; k < kTilesN; ++k)
#pragma unroll
                for (int i = 0; i < 4; ++i) state[m][k][i] = Starts ? 0.0f : state[m][k][i] * decay;
#pragma unroll
        for (int j0 = 0; j0 < kQ; j0 += 16) {
            uint32_t a[2][4];
#pragma unroll
            for (int m = 0; m < 2; ++m) load_a_transposed<kSsdPanel>(a[m], in.x[unit], warp_p() + 16 * m, j0);
#pragma unroll
            for (int q = 0; q < 4; ++q) {
                const float2 by = *reinterpret_cast<const float2*>(&shared.to_end[unit][j0 + q / 2 * 8 + pair()]);
#pragma unroll
                for (int m = 0; m < 2; ++m) a[m][q] = pack_bf16(low_bf16(a[m][q]) * by.x, high_bf16(a[m][q]) * by.y);
            }
#pragma unroll
            for (int k = 0; k < kTilesN; k += 2) {
                uint32_t keys[4];
                load_b2<N>(keys, in.B, j0, 8 * k);
#pragma unroll
                for (int m = 0; m < 2; ++m) mma_2(state[m][k], state[m][k + 1], a[m], keys);
            }
        }
    }

    // One chunk, whose tiles have arrived. Where no member starts, nothing of starts is looked at.
    template <bool Starts>
    __device__ __forceinline__ void walk(Stage<N>& in, const ChunkStarts& starts, int rows) {
        make_to_end<Starts>(in, starts);
        if (w.y) make_decayed<Starts>(in, starts);
        __syncthreads();
        uint64_t taken = 0;
        if constexpr (Starts) {
            clear_cut_rows(in, starts);
            taken = take_out_not_finite(in);
            __syncthreads();
        }
        if (w.y) make_y<Starts>(in, starts, taken, rows);
        advance<Starts>(in);
        if constexpr (Starts) put_back(starts, taken);
    }
};

template <int N>
__global__ void __launch_bounds__(kThreads, 2) chunked_kernel(SsdWalk<bf16> w) {
    Shared<N>& shared = *dynamic_shared<Shared<N>>();
    Worker<N> a(w, shared);
    int64_t chunk = a.segment * w.segment_chunks;
    int left = static_cast<int>(min(w.segment_chunks, w.in.chunks() - chunk));
    Loader<N> loader(w, a.b, a.g, a.h, a.p0, a.channels, chunk);
    loader.next(shared.stage[0]);
    ChunkStarts starts = chunk_starts(w.in, a.b, chunk);
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int k = 0; k < N / 8; ++k)
#pragma unroll
            for (int i = 0; i < 4; ++i) a.state[m][k][i] = 0;
    if (!w.from_zero && w.segments > 1)
        a.begin([&](int p) { return w.state(a.b, a.segment, a.h) + p * w.in.N; });
    else if (!w.from_zero && w.in.h0)
        a.begin([&](int p) { return &w.in.h0(a.b, a.h, p, 0); });

    double log_decay = 0;
    bool cut = false;
    for (int buffer = 0; left > 0; --left, ++chunk, buffer ^= 1) {
        Stage<N>& in = shared.stage[buffer];
        const int rows = static_cast<int>(min(loader.left + kQ, static_cast<int64_t>(kQ)));
        wait_copies<0>();
        __syncthreads();
        ChunkStarts next;
        if (left > 1) {
            loader.next(shared.stage[buffer ^ 1]);
            next = chunk_starts(w.in, a.b, chunk + 1);
        }
        if (w.chunk_states) a.keep(w.chunk_state(a.b, chunk, a.h));
        log_decay += in.sum[a.unit][kQ - 1];
        cut |= starts.any();
        if (starts.any())
            a.template walk<true>(in, starts, rows);
        else
            a.template walk<false>(in, starts, rows);
        starts = next;
    }
    if (w.from_zero) {
        a.end([&](int p) { return w.state(a.b, a.segment, a.h) + p * w.in.N; });
        if (a.warp % 2 == 0 && a.lane == 0 && a.p0 == 0 && a.channels > 0)
            *w.decay(a.b, a.segment, a.h) = cut ? SsdWalk<bf16>::kCut : exp2f(static_cast<float>(log_decay));
    } else if (a.segment == w.segments - 1) {
        a.end([&](int p) { return &w.hT(a.b, a.h, p, 0); });
    }
}

}  // namespace

void ssd_walk_chunked(Ctx& ctx, const SsdWalk<bf16>& walk, int64_t count) {
    const dim3 grid(blocks(count * walk.in.B * ssd_chunked_blocks(walk.in.H, walk.in.P, walk.in.G)));
    if (walk.in.N <= 64)
        launch(ctx.gpu->stream(), grid, dim3(kThreads), sizeof(Shared<64>), chunked_kernel<64>, walk);
    else
        launch(ctx.gpu->stream(), grid, dim3(kThreads), sizeof(Shared<128>), chunked_kernel<128>, walk);
}

}  // namespace adder::cuda
