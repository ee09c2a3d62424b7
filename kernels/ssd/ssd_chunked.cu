// The walk over segments of ssd.h by products of chunks of Q = 64 steps, on tensor cores. With s the sums of log decays
// (base 2) within a chunk, b the gains, h the state before the chunk:
//   y = (C B^T o exp2(s_i - s_j) b_j, j <= i, of one member) x + exp2(s_i) C h^T + D x
//   h = exp2(s_end) h + sum over j of exp2(s_end - s_j) b_j x_j (outer) B_j
//
// A block owns two panels (64 channels of a head each) of one group and walks one segment of one sequence in order. Its
// warps 2u and 2u + 1 own 32 channels each of panel u for everything: their part of h stays in f32 accumulators (p along
// the rows, n along the columns), and as rounded pairs those are at once the fragments that C h^T wants. C B^T is made
// once for both panels, 16 x 16 blocks on and below the diagonal shared out over the warps, and meets each head's
// decays as it is read back. Two buffers of B, C, x and scalars: a chunk is copied while the one before is computed. Two
// barriers a chunk, one more where a member starts.
// Starts select: sums begin anew, rows of h C^T and pairs of steps are selected, and in a chunk with a start values of x
// that are not finite are taken out and put back into the results that they belong to, as zero times NaN is NaN.
//
// Products per chunk and head (mma of 2,048): C B^T 80/2..., x 80, C h^T 256, update 256 (P = 64, N = 128): 10,500
// multiply-adds per step and head. Bytes per step and head: 4 P + 8 and, per pair of panels, 4 N from the second-level
// cache; kept states add P N / 32. Shared memory per step and head about 2.3 KB: the floor beside the tensor cores.
#include "kernels/ssd/ssd_forward.cuh"

namespace adder::cuda {

namespace {

constexpr int kWarps = 2 * kSsdPanelsOfBlock, kThreads = kWarps * kWarp;
constexpr int kQ = kChunk, kWarpP = 32;
static_assert(kThreads == kSsdPanelsOfBlock * kQ);

template <int N>
struct alignas(128) Stage {
    bf16 C[kQ * N], B[kQ * N], x[kSsdPanelsOfBlock][kQ * kSsdPanel];
    float sum[kSsdPanelsOfBlock][kQ], gain[kSsdPanelsOfBlock][kQ];
};
template <int N>
struct alignas(128) Shared {
    Stage<N> stage[2];
    bf16 products[kQ * kQ];  // C B^T on and below the diagonal
    bf16 y[kWarps][16 * kWarpP];
    float from_begin[kSsdPanelsOfBlock][kQ];  // decay of h until after step i; 0 from the first start on
    float column[kSsdPanelsOfBlock][kQ];      // s_j - log2(b_j)
    float to_end[kSsdPanelsOfBlock][kQ];      // decay from after step j, times b_j; 0 before the last start
};

__device__ __forceinline__ bool not_finite(bf16 x) { return (x.bits & 0x7f80) == 0x7f80; }
__device__ __forceinline__ bool any_not_finite(uint32_t two) {
    return (((two & 0x7f807f80u) + 0x00800080u) & 0x80008000u) != 0;
}

// A warp and its part of the block's work.
template <int N>
struct Worker {
    static constexpr int kTilesN = N / 8;

    const SsdWalk<bf16>& w;
    Shared<N>& shared;
    int lane, warp, unit, b, g, h, p0, channels;  // of this warp's panel; channels <= 0: there is no such panel
    int64_t segment;
    float state[2][kTilesN][4];  // rows p0 + 16 m + lane / 4 (+ 8), columns 8 k + lane % 4 * 2 (+ 1)

    __device__ Worker(const SsdWalk<bf16>& walk, Shared<N>& room) : w(walk), shared(room) {}
    __device__ int row() const { return lane / 4; }
    __device__ int pair() const { return lane % 4 * 2; }
    // The first channel of this warp within its panel.
    __device__ int warp_p() const { return warp % 2 * kWarpP; }

    // f(p of the head, n, the two values at n and n + 1) for what this lane owns.
    template <class F>
    __device__ __forceinline__ void each_pair(F&& f) {
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int c = warp_p() + 16 * m + 8 * half + row();
                if (c >= channels) continue;
#pragma unroll
                for (int k = 0; k < kTilesN; ++k)
                    if (8 * k < w.in.N) f(p0 + c, 8 * k + pair(), state[m][k][2 * half], state[m][k][2 * half + 1]);
            }
    }

    __device__ void begin() {
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int k = 0; k < kTilesN; ++k)
#pragma unroll
                for (int i = 0; i < 4; ++i) state[m][k][i] = 0;
        if (w.from_zero) return;
        if (w.segments > 1) {
            const float* from = w.state(b, segment, h);
            each_pair([&](int p, int n, float& s0, float& s1) {
                const float2 two = *reinterpret_cast<const float2*>(from + p * w.in.N + n);
                s0 = two.x, s1 = two.y;
            });
        } else if (w.in.h0) {
            each_pair([&](int p, int n, float& s0, float& s1) {
                s0 = w.in.h0(b, h, p, n), s1 = w.in.h0(b, h, p, n + 1);
            });
        }
    }

    __device__ void copy_chunk(Stage<N>& to, int64_t chunk) {
        const int64_t t0 = chunk * kQ;
        const int rows = static_cast<int>(w.in.L - t0 < kQ ? w.in.L - t0 : kQ);
        const auto from = [&](const View<const bf16, 3>& v, int col) {
            return v.data + b * v.stride[0] + t0 * v.stride[1] + col;
        };
        copy_tile_async<kQ, N, kThreads>(to.B, from(w.in.Bm, g * w.in.N), w.in.Bm.stride[1], rows, w.in.N);
        if (w.y) copy_tile_async<kQ, N, kThreads>(to.C, from(w.in.C, g * w.in.N), w.in.C.stride[1], rows, w.in.N);
        // Each half of the block copies its own panel and scalars.
        constexpr int kHalf = kThreads / kSsdPanelsOfBlock, kUnits = kSsdPanel / 8;
        const int i0 = static_cast<int>(threadIdx.x) % kHalf;
        const bf16* x = from(w.in.x, h * w.in.P + p0);
#pragma unroll
        for (int i = i0; i < kQ * kUnits; i += kHalf) {
            const int r = i / kUnits, c = i % kUnits * 8;
            const bool valid = r < rows && c < channels;
            copy_16_async(to.x[unit] + tile_at<kSsdPanel>(r, c), valid ? x + r * w.in.x.stride[1] + c : x, valid);
        }
        if (i0 < kQ / 4) {
            const int64_t at = w.steps.row(b, h, w.in.H, chunk) + 4 * i0;
            copy_16_async(to.sum[unit] + 4 * i0, w.steps.hi + at);
            copy_16_async(to.gain[unit] + 4 * i0, w.steps.gain + at);
        }
        commit_copies();
    }

    // A thread makes the scalars of one step of one panel.
    __device__ void make_scalars(const Stage<N>& in, const ChunkStarts& starts) {
        const int u = unit, i = static_cast<int>(threadIdx.x) % kQ;
        const float sum = in.sum[u][i], gain = in.gain[u][i];
        shared.from_begin[u][i] = i < starts.first() ? fast_exp2(sum) : 0.0f;
        shared.column[u][i] = sum - log2f(gain);
        shared.to_end[u][i] = i >= starts.last() ? gain * fast_exp2(in.sum[u][kQ - 1] - sum) : 0.0f;
    }

    // The 16 x 16 blocks of C B^T that this warp makes: the last row's four by warps 0 and 1, the other six by 2 and 3.
    __device__ void make_products(const Stage<N>& in) {
        const int count = warp < 2 ? 2 : 3;
        int rows[3], cols[3];
#pragma unroll
        for (int k = 0; k < 3; ++k) {
            rows[k] = 16 * (warp < 2 ? 3 : warp == 2 ? 2 : k < 2 ? 1 : 0);
            cols[k] = 16 * (warp < 2 ? 2 * warp + k : warp == 2 || k < 2 ? k : 0);
        }
        float sums[3][2][4] = {};
#pragma unroll
        for (int n = 0; n < N; n += 16)
#pragma unroll
            for (int k = 0; k < 3; ++k) {
                if (k >= count) break;
                uint32_t a[4], bb[4];
                load_a<N>(a, in.C, rows[k], n);
                load_b2_transposed<N>(bb, in.B, n, cols[k]);
                mma_2(sums[k][0], sums[k][1], a, bb);
            }
#pragma unroll
        for (int k = 0; k < 3; ++k) {
            if (k >= count) break;
#pragma unroll
            for (int i = 0; i < 2; ++i)
#pragma unroll
                for (int half = 0; half < 2; ++half)
                    *reinterpret_cast<uint32_t*>(shared.products +
                                                 tile_at<kQ>(rows[k] + 8 * half + row(), cols[k] + 8 * i + pair())) =
                        pack_bf16(sums[k][i][2 * half], sums[k][i][2 * half + 1]);
        }
    }

    // acc[m][.] := exp2(s_i) C h^T for steps i0 + 16 m + 0..15 and the 32 channels of this warp.
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
                const float decay = shared.from_begin[unit][i];
                const bool cut = i >= starts.first();
#pragma unroll
                for (int t = 0; t < 4; ++t)
#pragma unroll
                    for (int e = 2 * half; e < 2 * half + 2; ++e) acc[m][t][e] = cut ? 0.0f : acc[m][t][e] * decay;
            }
    }

    // The fragment of the masked, decayed products of steps i0.. with steps j0...
    __device__ __forceinline__ void load_decayed(uint32_t (&a)[4], const Stage<N>& in, const ChunkStarts& starts, int i0,
                                                 int j0) {
        load_a<kQ>(a, shared.products, i0, j0);
        const float sum[2] = {in.sum[unit][i0 + row()], in.sum[unit][i0 + 8 + row()]};
#pragma unroll
        for (int q = 0; q < 4; ++q) {
            const int i = i0 + q % 2 * 8 + row(), j = j0 + q / 2 * 8 + pair();
            const float2 column = *reinterpret_cast<const float2*>(&shared.column[unit][j]);
            float low = low_bf16(a[q]) * fast_exp2(sum[q % 2] - column.x);
            float high = high_bf16(a[q]) * fast_exp2(sum[q % 2] - column.y);
            if (i0 == j0) {
                if (j > i) low = 0;
                if (j + 1 > i) high = 0;
            }
            if (starts.any()) {
                const int member = starts.member(i);
                if (starts.member(j) != member) low = 0;
                if (starts.member(j + 1) != member) high = 0;
            }
            a[q] = pack_bf16(low, high);
        }
    }

    // acc += (decayed products) x.
    __device__ __forceinline__ void from_chunk(float (&acc)[2][4][4], const Stage<N>& in, const ChunkStarts& starts, int i0) {
#pragma unroll 1
        for (int j0 = 0; j0 < i0 + 32; j0 += 16) {
            uint32_t x[2][4];
            load_b2<kSsdPanel>(x[0], in.x[unit], j0, warp_p());
            load_b2<kSsdPanel>(x[1], in.x[unit], j0, warp_p() + 16);
#pragma unroll
            for (int m = 0; m < 2; ++m) {
                if (j0 > i0 + 16 * m) continue;
                uint32_t a[4];
                load_decayed(a, in, starts, i0 + 16 * m, j0);
                mma_2(acc[m][0], acc[m][1], a, x[0]);
                mma_2(acc[m][2], acc[m][3], a, x[1]);
            }
        }
    }

    // Adds D x to 16 rows of y and writes them, 16 bytes a lane, through shared memory.
    __device__ __forceinline__ void write_rows(float (&acc)[4][4], const Stage<N>& in, int64_t t0, int i0) {
        bf16* room = shared.y[warp];
        const auto at = [](int r, int c) { return r * kWarpP + (((c >> 3) ^ (r >> 1 & 3)) << 3) + (c & 7); };
        const float D = w.in.D[h];
#pragma unroll
        for (int t = 0; t < 4; ++t)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int r = 8 * half + row(), c = 8 * t + pair();
                const uint32_t x = *reinterpret_cast<const uint32_t*>(in.x[unit] + tile_at<kSsdPanel>(i0 + r, warp_p() + c));
                *reinterpret_cast<uint32_t*>(room + at(r, c)) =
                    pack_bf16(acc[t][2 * half] + D * low_bf16(x), acc[t][2 * half + 1] + D * high_bf16(x));
            }
        __syncwarp();
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int r = 8 * half + row(), c = lane % 4 * 8;
            const int64_t t = t0 + i0 + r;
            if (t < w.in.L && warp_p() + c < channels)
                *reinterpret_cast<uint4*>(&w.y(b, t, h * w.in.P + p0 + warp_p() + c)) =
                    *reinterpret_cast<const uint4*>(room + at(r, c));
        }
        __syncwarp();
    }

    // In a chunk with a start: sets values of x that are not finite to zero in this warp's columns; returns for column
    // `lane` of the warp at which steps there were any.
    __device__ uint64_t take_out_not_finite(Stage<N>& in) {
        bool found = false;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int r = 8 * i + row(), c = warp_p() + lane % 4 * 8;
            const uint4 x = *reinterpret_cast<const uint4*>(in.x[unit] + tile_at<kSsdPanel>(r, c));
            found |= any_not_finite(x.x) || any_not_finite(x.y) || any_not_finite(x.z) || any_not_finite(x.w);
        }
        if (!__any_sync(kFullWarp, found)) return 0;
        uint64_t steps = 0;
        for (int r = 0; r < kQ; ++r) {
            bf16& x = in.x[unit][tile_at<kSsdPanel>(r, warp_p() + lane)];
            if (not_finite(x)) x = bf16{0}, steps |= uint64_t{1} << r;
        }
        __syncwarp();
        return steps;
    }

    // Puts them back: NaN where a step of `taken` up to row i, of its member, reaches column c of the warp.
    __device__ void put_back(float (&acc)[2][4][4], const ChunkStarts& starts, uint64_t taken, int i0) {
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
                        if (steps & reach) acc[m][t][2 * half + e] = __int_as_float(0x7fc00000);
                    }
            }
    }

    __device__ __forceinline__ void make_y(const Stage<N>& in, const ChunkStarts& starts, uint64_t taken, int64_t t0) {
#pragma unroll 1
        for (int i0 = 0; i0 < kQ; i0 += 32) {
            float acc[2][4][4] = {};
            from_state(acc, in, starts, i0);
            from_chunk(acc, in, starts, i0);
            if (starts.any()) put_back(acc, starts, taken, i0);
            write_rows(acc[0], in, t0, i0);
            write_rows(acc[1], in, t0, i0 + 16);
        }
    }

    __device__ __forceinline__ void advance(const Stage<N>& in, const ChunkStarts& starts) {
        const bool cut = starts.any();
        const float decay = shared.from_begin[unit][kQ - 1];
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int k = 0; k < kTilesN; ++k)
#pragma unroll
                for (int i = 0; i < 4; ++i) state[m][k][i] = cut ? 0.0f : state[m][k][i] * decay;
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

    // After advance, in a chunk with a start.
    __device__ void put_back(const ChunkStarts& starts, uint64_t taken) {
        const bool reached = (taken >> starts.last()) != 0;
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half)
                if (__shfl_sync(kFullWarp, static_cast<int>(reached), 16 * m + 8 * half + row()))
#pragma unroll
                    for (int k = 0; k < kTilesN; ++k)
                        state[m][k][2 * half] = state[m][k][2 * half + 1] = __int_as_float(0x7fc00000);
    }

    // Rows of B from before the last start, which the update multiplies with zero.
    __device__ void clear_cut_rows(Stage<N>& in, const ChunkStarts& starts) {
        for (int i = static_cast<int>(threadIdx.x); i < starts.last() * (N / 8); i += kThreads)
            *reinterpret_cast<uint4*>(in.B + 8 * i) = make_uint4(0, 0, 0, 0);
    }
};

template <int N>
__global__ void __launch_bounds__(kThreads, 2) chunked_kernel(SsdWalk<bf16> w) {
    Shared<N>& shared = *dynamic_shared<Shared<N>>();
    const int panels = (w.in.P + kSsdPanel - 1) / kSsdPanel, panels_of_group = w.in.H / w.in.G * panels;
    const int pairs = (panels_of_group + kSsdPanelsOfBlock - 1) / kSsdPanelsOfBlock;
    const int along = static_cast<int>(blockIdx.x % (w.in.G * pairs));
    const int64_t rest = blockIdx.x / (w.in.G * pairs);
    Worker<N> a(w, shared);
    a.lane = static_cast<int>(threadIdx.x) % kWarp, a.warp = static_cast<int>(threadIdx.x) / kWarp, a.unit = a.warp / 2;
    a.b = static_cast<int>(rest % w.in.B), a.segment = w.first + rest / w.in.B;
    a.g = along / pairs;
    const int panel = along % pairs * kSsdPanelsOfBlock + a.unit;
    const bool some = panel < panels_of_group;
    a.h = a.g * (w.in.H / w.in.G) + (some ? panel / panels : 0);
    a.p0 = some ? panel % panels * kSsdPanel : 0;
    a.channels = some ? (w.in.P - a.p0 < kSsdPanel ? w.in.P - a.p0 : kSsdPanel) : 0;

    int64_t chunk = a.segment * w.segment_chunks, end = chunk + w.segment_chunks;
    if (end > w.in.chunks()) end = w.in.chunks();
    a.copy_chunk(shared.stage[0], chunk);
    ChunkStarts starts = chunk_starts(w.in, a.b, chunk);
    a.begin();
    double log_decay = 0;
    bool cut = false;
    for (int buffer = 0; chunk < end; ++chunk, buffer ^= 1) {
        Stage<N>& in = shared.stage[buffer];
        wait_copies<0>();
        __syncthreads();
        ChunkStarts next;
        if (chunk + 1 < end) {
            a.copy_chunk(shared.stage[buffer ^ 1], chunk + 1);
            next = chunk_starts(w.in, a.b, chunk + 1);
        }
        a.make_scalars(in, starts);
        if (w.y) a.make_products(in);
        if (w.chunk_states && !w.from_zero) {
            bf16* kept = w.chunk_state(a.b, chunk, a.h);
            a.each_pair([&](int p, int n, float& s0, float& s1) {
                *reinterpret_cast<uint32_t*>(kept + p * w.in.N + n) = pack_bf16(s0, s1);
            });
        }
        log_decay += in.sum[a.unit][kQ - 1];
        cut |= starts.any();
        __syncthreads();
        uint64_t taken = 0;
        if (starts.any()) {
            a.clear_cut_rows(in, starts);
            taken = a.take_out_not_finite(in);
            __syncthreads();
        }
        if (w.y) a.make_y(in, starts, taken, chunk * kQ);
        a.advance(in, starts);
        if (starts.any()) a.put_back(starts, taken);
        starts = next;
    }
    if (w.from_zero) {
        float* to = w.state(a.b, a.segment, a.h);
        a.each_pair([&](int p, int n, float& s0, float& s1) {
            *reinterpret_cast<float2*>(to + p * w.in.N + n) = make_float2(s0, s1);
        });
        if (a.warp % 2 == 0 && a.lane == 0 && a.p0 == 0 && a.channels > 0)
            *w.decay(a.b, a.segment, a.h) = cut ? SsdWalk<bf16>::kCut : exp2f(static_cast<float>(log_decay));
    } else if (end == w.in.chunks()) {
        a.each_pair([&](int p, int n, float& s0, float& s1) { w.hT(a.b, a.h, p, n) = s0, w.hT(a.b, a.h, p, n + 1) = s1; });
    }
}

}  // namespace

void ssd_walk_chunked(Ctx& ctx, const SsdWalk<bf16>& walk, int64_t count) {
    SsdWalk<bf16> w = walk;
    if (w.from_zero) w.y = {};
    const dim3 grid(blocks(count * w.in.B * ssd_chunked_blocks(w.in.H, w.in.P, w.in.G)));
    if (w.in.N <= 64)
        launch(ctx.gpu->stream(), grid, dim3(kThreads), sizeof(Shared<64>), chunked_kernel<64>, w);
    else
        launch(ctx.gpu->stream(), grid, dim3(kThreads), sizeof(Shared<128>), chunked_kernel<128>, w);
}

}  // namespace adder::cuda
