// The walk over segments of ssd.h by products of chunks of Q = 64 steps, on tensor cores. With s the sums of
// log decays (base 2) within a chunk, b the gains, h the state before the chunk:
//   y = (C B^T o exp2(s_i - s_j) b_j, j <= i, of one member) x + exp2(s_i) C h^T + D x
//   h = exp2(s_end) h + sum over j of exp2(s_end - s_j) b_j x_j (outer) B_j
// Source: Dao & Gu 2024 (arXiv 2405.21060), section 6.
//
// A block owns two panels (64 channels of a head each) of one group and walks one segment of one sequence in
// order. Its warps 2u and 2u + 1 own 32 channels each of panel u: their part of h stays in f32 accumulators
// (p along the rows, n along the columns), and as rounded pairs those are at once the fragments that C h^T
// wants. C B^T is made once for both panels, the ten 16 x 16 blocks on and below the diagonal shared out over
// the warps; whoever makes a block multiplies it with the decays of both heads and hands it on as fragments.
// Two buffers of B, C, x and scalars: a chunk is copied while the one before is computed. Two barriers a
// chunk, one more where a member starts. Starts select: sums begin anew, rows of C h^T and pairs of steps are
// selected, and in a chunk with a start values of x that are not finite are taken out and put back into the
// results that they belong to, as zero times NaN is NaN. Sums over steps and states: in the order of the
// tensor cores, chunk after chunk; no two blocks add to one number.
//
// Floors at P = 64, N = 128, per chunk and head: 672 products of 2,048 multiply-adds (C B^T 80, times x 80, C
// h^T 256, update 256; the first walk has the update alone), 1,060 cycles at the 1,300 multiply-adds a cycle
// that mma.sync reaches on a multiprocessor; 170 KB through shared memory, 1,345 cycles at 128 bytes; 1,700
// instructions of each of two warps. Bytes per step and head: 4 P + 8, kept states P N / 32, and 2 N from the
// second-level cache for B and C. 128 threads of 255 registers and 112.5 KiB of shared memory: two blocks on
// a multiprocessor (H100, H200). Longer than other files: one kernel, whose pieces share its fragments and
// buffers.
#include "kernels/ssd/ssd_chunked.cuh"

namespace adder::cuda {

namespace {

using namespace chunked;

__device__ __forceinline__ float nan_f32() { return __int_as_float(0x7fc00000); }
__device__ __forceinline__ bool any_not_finite(uint32_t two) {
    return (((two & 0x7f807f80u) + 0x00800080u) & 0x80008000u) != 0;
}
__device__ __forceinline__ bool any_not_finite(const uint4& x) {
    return any_not_finite(x.x) || any_not_finite(x.y) || any_not_finite(x.z) || any_not_finite(x.w);
}

// A warp and its part of the block's work.
template <int N>
struct Worker {
    static constexpr int kTilesN = N / 8;

    const SsdWalk<bf16>& w;
    Shared<N>& shared;
    int lane, warp, unit, b, g, h, p0, channels;  // of this warp's panel; no channels: there is no such panel
    int segment;
    bf16* y;      // where this lane writes 8 channels of the next row
    float D;
    float state[2][kTilesN][4];  // rows p0 + 16 m + lane / 4 (+ 8), columns 8 k + lane % 4 * 2 (+ 1)

    __device__ Worker(const SsdWalk<bf16>& walk, Shared<N>& memory) : w(walk), shared(memory) {
        look();
        const int panels = (w.in.P + kSsdPanel - 1) / kSsdPanel, panels_of_group = w.in.H / w.in.G * panels;
        const int pairs = (panels_of_group + kSsdPanelsOfBlock - 1) / kSsdPanelsOfBlock;
        const int along = static_cast<int>(blockIdx.x % (w.in.G * pairs));
        const int rest = static_cast<int>(blockIdx.x / (w.in.G * pairs));
        b = rest % w.in.B, segment = static_cast<int>(w.first) + rest / w.in.B, g = along / pairs;
        const int panel = along % pairs * kSsdPanelsOfBlock + unit;
        const bool some = panel < panels_of_group;
        h = g * (w.in.H / w.in.G) + (some ? panel / panels : 0), p0 = some ? panel % panels * kSsdPanel : 0;
        channels = some ? min(w.in.P - p0, kSsdPanel) : 0;
        D = w.in.D[h];
        y = w.y ? &w.y(b, segment * w.segment_chunks * kQ + row(), h * w.in.P + p0 + warp_p() + lane % 4 * 8) : nullptr;
    }

    __device__ __forceinline__ void look() {
        const int thread = thread_here();
        lane = thread % kWarp, warp = thread / kWarp, unit = warp / 2;
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
    // Where a lane finds its pairs in this warp's room, 16 rows of 32 elements: pair t of row r at (r, 8 t + pair()), with
    // eights moved apart. The same lane writes 8 elements of row r from (r, lane % 4 * 8) at once.
    __device__ __forceinline__ uint32_t* pair_in_room(int r8, int t) {
        return reinterpret_cast<uint32_t*>(shared.room[warp] + ((room_at() ^ (8 * t)) | pair()) + 8 * r8 * kWarpP);
    }
    // Writes rows r and r + 8 from eight's place in each, where `some` says so.
    __device__ __forceinline__ void write_eights(bf16* to, int64_t eight_rows, const bool (&some)[2]) {
        const bf16* from = shared.room[warp] + (room_at() ^ (lane % 4 * 8));
        __syncwarp();
#pragma unroll
        for (int half = 0; half < 2; ++half)
            if (some[half])
                *reinterpret_cast<uint4*>(to + half * eight_rows) = *reinterpret_cast<const uint4*>(from + 8 * half * kWarpP);
        __syncwarp();
    }
    __device__ int room_at() const { return row() * kWarpP + ((row() / 2 % 4) << 3); }

    // Writes h, rounded: rows of 64 bytes.
    __device__ __forceinline__ void keep(bf16* kept) {
        bf16* to = kept + static_cast<int64_t>(p0 + warp_p() + row()) * w.in.N + lane % 4 * 8;
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int n = 0; n < N; n += 32) {
                if (n >= w.in.N) break;
#pragma unroll
                for (int half = 0; half < 2; ++half)
#pragma unroll
                    for (int t = 0; t < 4; ++t)
                        *pair_in_room(half, t) =
                            pack_bf16(state[m][n / 8 + t][2 * half], state[m][n / 8 + t][2 * half + 1]);
                const int left = channels - warp_p() - 16 * m - row();
                const bool column = n + lane % 4 * 8 < w.in.N;
                write_eights(to + 16 * m * w.in.N + n, 8 * w.in.N, {column && left > 0, column && left > 8});
            }
    }

    // A thread makes that of one step of one panel.
    template <bool Starts>
    __device__ __forceinline__ void make_to_end(const Stage<N>& in, const ChunkStarts& starts) {
        const int i = warp % 2 * kWarp + lane;
        const float decay = exp2_approx(in.sum[unit][kQ - 1] - in.column[unit][i]);
        shared.to_end[unit][i] = Starts && i < starts.last() ? 0.0f : decay;
    }

    // Columns 8 c .. 8 c + 7 of rows i0 .. i0 + 15 of C B^T with the decays and gains of both heads. The accumulators' lanes
    // are those of a fragment.
    template <bool Starts>
    __device__ __forceinline__ void hand_on(const float (&products)[4], const Stage<N>& in, const ChunkStarts& starts, int i0,
                                            int c) {
        const int r = i0 / 16, i = i0 + row(), j = 8 * c + pair();
#pragma unroll
        for (int u = 0; u < kSsdPanelsOfBlock; ++u) {
            const float sum[2] = {in.sum[u][i], in.sum[u][i + 8]};
            const float2 column = *reinterpret_cast<const float2*>(&in.column[u][j]);
            float v[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) v[k] = products[k] * exp2_approx(sum[k / 2] - (k % 2 ? column.y : column.x));
            if (Starts || c / 2 == r)
#pragma unroll
                for (int k = 0; k < 4; ++k) {
                    const int ik = i + k / 2 * 8, jk = j + k % 2;
                    if (jk > ik || (Starts && !starts.joined(jk, ik))) v[k] = 0;
                }
            uint32_t* to = reinterpret_cast<uint32_t*>(&shared.decayed[u][r * (r + 1) / 2 + c / 2][lane]) + c % 2 * 2;
            *reinterpret_cast<uint2*>(to) = make_uint2(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]));
        }
    }

    // Each warp makes five tiles of 16 x 8, three in one row of tiles and two in another: of 16 rows from i0, columns from
    // 8 c0. Row 3 has eight tiles, row 2 six, row 1 four, row 0 two.
    template <bool Starts>
    __device__ __forceinline__ void make_decayed(const Stage<N>& in, const ChunkStarts& starts) {
        const int i0 = warp < 2 ? 48 : 32, c0 = warp % 2 * 3;
        const int i1 = warp == 0 ? 0 : warp == 1 ? 48 : 16, c1 = warp == 1 ? 6 : warp == 3 ? 2 : 0;
        float three[3][4] = {}, two[2][4] = {};
#pragma unroll
        for (int n = 0; n < N; n += 32) {
            uint32_t keys[3][4];
#pragma unroll
            for (int k = 0; k < 3; ++k) load_b_long_transposed<64>(keys[k], in.B[n / 64], n % 64, 8 * (c0 + k), lane);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int col = n % 64 + 16 * half;
                uint32_t a[2][4], more[4];
                load_a<64>(a[0], in.C[n / 64], i0, col, lane);
                load_a<64>(a[1], in.C[n / 64], i1, col, lane);
                load_b2_transposed<64>(more, in.B[n / 64], col, 8 * c1, lane);
#pragma unroll
                for (int k = 0; k < 3; ++k) {
                    const uint32_t key[2] = {keys[k][2 * half], keys[k][2 * half + 1]};
                    mma_16x8x16(three[k], a[0], key);
                }
                mma_2(two[0], two[1], a[1], more);
            }
        }
#pragma unroll
        for (int k = 0; k < 3; ++k) hand_on<Starts>(three[k], in, starts, i0, c0 + k);
#pragma unroll
        for (int k = 0; k < 2; ++k) hand_on<Starts>(two[k], in, starts, i1, c1 + k);
    }

    // acc[m][.] := exp2(s_i) C h^T for steps 16 m + 0..15 and the 32 channels of this warp.
    template <bool Starts>
    __device__ __forceinline__ void from_state(float (&acc)[4][4][4], const Stage<N>& in, const ChunkStarts& starts) {
#pragma unroll
        for (int k = 0; k < N / 16; ++k) {
            uint32_t keys[4][2];
#pragma unroll
            for (int t = 0; t < 4; ++t) {
                const float* left = &state[t / 2][2 * k][t % 2 * 2];
                const float* right = &state[t / 2][2 * k + 1][t % 2 * 2];
                keys[t][0] = pack_bf16(left[0], left[1]), keys[t][1] = pack_bf16(right[0], right[1]);
            }
#pragma unroll
            for (int m = 0; m < 4; ++m) {
                uint32_t a[4];
                load_a<64>(a, in.C[k / 4], 16 * m, 16 * k % 64, lane);
#pragma unroll
                for (int t = 0; t < 4; ++t) mma_16x8x16(acc[m][t], a, keys[t]);
            }
        }
#pragma unroll
        for (int m = 0; m < 4; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int i = 16 * m + 8 * half + row();
                const float decay = exp2_approx(in.sum[unit][i]);
#pragma unroll
                for (int t = 0; t < 4; ++t)
#pragma unroll
                    for (int e = 2 * half; e < 2 * half + 2; ++e)
                        acc[m][t][e] = Starts && i >= starts.first() ? 0.0f : acc[m][t][e] * decay;
            }
    }

    // acc += (decayed products) x.
    __device__ __forceinline__ void from_chunk(float (&acc)[4][4][4], const Stage<N>& in) {
#pragma unroll
        for (int j0 = 0; j0 < kQ; j0 += 16) {
            uint32_t x[2][4];
            load_b2<64>(x[0], in.x[unit], j0, warp_p(), lane);
            load_b2<64>(x[1], in.x[unit], j0, warp_p() + 16, lane);
#pragma unroll
            for (int m = j0 / 16; m < 4; ++m) {
                const uint4 four = shared.decayed[unit][m * (m + 1) / 2 + j0 / 16][lane];
                const uint32_t a[4] = {four.x, four.y, four.z, four.w};
                mma_2(acc[m][0], acc[m][1], a, x[0]);
                mma_2(acc[m][2], acc[m][3], a, x[1]);
            }
        }
    }

    // Adds D x to 16 rows of y and writes them, 16 bytes a lane, through shared memory. Within eight rows a lane's places
    // are one exclusive or apart.
    __device__ __forceinline__ void write_rows(float (&acc)[4][4], const Stage<N>& in, int rows, int i0) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            uint32_t x[4];
            load_matrix_x4(x, in.x[unit] + tile_at<64>(lane % 8, warp_p() + lane / 8 * 8) + (i0 + 8 * half) * 64);
#pragma unroll
            for (int t = 0; t < 4; ++t)
                *pair_in_room(half, t) =
                    pack_bf16(acc[t][2 * half] + D * low_bf16(x[t]), acc[t][2 * half + 1] + D * high_bf16(x[t]));
        }
        const bool column = warp_p() + lane % 4 * 8 < channels;
        const int left = rows - i0 - row();
        write_eights(y, 8 * w.y.stride[1], {column && left > 0, column && left > 8});
        y += 16 * w.y.stride[1];
    }

    // In a chunk with a start: sets values of x that are not finite to zero in this warp's columns; returns for column
    // `lane` of the warp the steps whose y they belong to, 63 standing for the state after the chunk too.
    __device__ uint64_t take_out_not_finite(Stage<N>& in, const ChunkStarts& starts) {
        bool found = false;
        for (int r = row(); r < kQ; r += 8)
            found |= any_not_finite(*reinterpret_cast<const uint4*>(in.x[unit] + tile_at<64>(r, warp_p() + lane % 4 * 8)));
        if (!__any_sync(kFullWarp, found)) return 0;
        uint64_t reached = 0;
        bool now = false;
        for (int r = 0; r < kQ; ++r) {
            bf16& x = in.x[unit][tile_at<64>(r, warp_p() + lane)];
            if (starts.bits >> r & 1) now = false;
            if (any_not_finite(x.bits)) x = bf16{0}, now = true;
            if (now) reached |= uint64_t{1} << r;
        }
        __syncwarp();
        return reached;
    }
    // Puts them back into y,
    __device__ __forceinline__ void put_back(float (&acc)[4][4][4], uint64_t reached) {
#pragma unroll
        for (int t = 0; t < 4; ++t)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                const uint64_t rows = __shfl_sync(kFullWarp, reached, 8 * t + pair() + e) >> row();
#pragma unroll
                for (int m = 0; m < 4; ++m)
#pragma unroll
                    for (int half = 0; half < 2; ++half)
                        if (rows >> (16 * m + 8 * half) & 1) acc[m][t][2 * half + e] = nan_f32();
            }
    }
    // and into h, after the update.
    __device__ __forceinline__ void put_back(uint64_t reached) {
        const int last = static_cast<int>(reached >> (kQ - 1));
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half)
                if (__shfl_sync(kFullWarp, last, 16 * m + 8 * half + row()))
#pragma unroll
                    for (int k = 0; k < kTilesN; ++k) state[m][k][2 * half] = state[m][k][2 * half + 1] = nan_f32();
    }
    // Rows of B from before the last start, which the update multiplies with zero.
    __device__ void clear_cut_rows(Stage<N>& in, const ChunkStarts& starts) {
        for (int i = static_cast<int>(threadIdx.x); i < starts.last() * 8; i += kThreads)
            for (int n = 0; n < N / 64; ++n) *reinterpret_cast<uint4*>(in.B[n] + 8 * i) = make_uint4(0, 0, 0, 0);
    }

    // `rows` steps of the chunk are before the end.
    template <bool Starts>
    __device__ __forceinline__ void make_y(const Stage<N>& in, const ChunkStarts& starts, uint64_t reached, int rows) {
        float acc[4][4][4] = {};
        from_state<Starts>(acc, in, starts);
        from_chunk(acc, in);
        if (Starts && __any_sync(kFullWarp, reached != 0)) put_back(acc, reached);
#pragma unroll
        for (int m = 0; m < 4; ++m) write_rows(acc[m], in, rows, 16 * m);
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
            for (int m = 0; m < 2; ++m) load_a_transposed<64>(a[m], in.x[unit], warp_p() + 16 * m, j0, lane);
#pragma unroll
            for (int q = 0; q < 4; ++q) {
                const float2 by = *reinterpret_cast<const float2*>(&shared.to_end[unit][j0 + q / 2 * 8 + pair()]);
#pragma unroll
                for (int m = 0; m < 2; ++m) a[m][q] = pack_bf16(low_bf16(a[m][q]) * by.x, high_bf16(a[m][q]) * by.y);
            }
#pragma unroll
            for (int k = 0; k < kTilesN; k += 2) {
                uint32_t keys[4];
                load_b2<64>(keys, in.B[k / 8], j0, 8 * k % 64, lane);
#pragma unroll
                for (int m = 0; m < 2; ++m) mma_2(state[m][k], state[m][k + 1], a[m], keys);
            }
        }
    }

    // The decay of the segment: of all its chunks, whose sums the lanes share.
    __device__ void leave_decay(int first, int end, bool cut) {
        double sum = 0;
        for (int chunk = first + lane; chunk < end; chunk += kWarp)
            sum += w.steps.hi[w.steps.row(b, h, w.in.H, chunk) + kQ - 1];
        sum = warp_sum(sum);
        if (lane == 0) *w.decay(b, segment, h) = cut ? SsdWalk<bf16>::kCut : exp2f(static_cast<float>(sum));
    }

    // One chunk, whose tiles have arrived. Where no member starts, nothing of starts is looked at.
    template <bool Starts>
    __device__ __forceinline__ void walk(Stage<N>& in, const ChunkStarts& starts, int rows) {
        make_to_end<Starts>(in, starts);
        if (w.y) make_decayed<Starts>(in, starts);
        __syncthreads();
        uint64_t reached = 0;
        if constexpr (Starts) {
            clear_cut_rows(in, starts);
            reached = take_out_not_finite(in, starts);
            __syncthreads();
        }
        if (w.y) make_y<Starts>(in, starts, reached, rows);
        advance<Starts>(in);
        if constexpr (Starts) put_back(reached);
    }
};

template <int N>
__global__ void __launch_bounds__(kThreads, 2) chunked_kernel(SsdWalk<bf16> w) {
    Shared<N>& shared = *dynamic_shared<Shared<N>>();
    wait_for_previous();
    release_next();
    Worker<N> a(w, shared);
    const int first = static_cast<int>(a.segment * w.segment_chunks);
    const int end = static_cast<int>(min(first + w.segment_chunks, w.in.chunks()));
    // From a chunk's first step to the sequence's end, where that is less than a chunk.
    const auto rows = [&](int chunk) { return static_cast<int>(min(w.in.L - chunk * int64_t{kQ}, int64_t{kQ})); };
    Loader<N> loader(w, a.b, a.g, a.h, a.p0, a.channels, first);
    loader.next(shared.stage[0], rows(first));
    ChunkStarts starts = chunk_starts(w.in, a.b, first);
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

    bool cut = false;
    for (int chunk = first; chunk < end; ++chunk) {
        Stage<N>& in = shared.stage[(chunk - first) % 2];
        a.look();
        wait_copies<0>();
        __syncthreads();
        ChunkStarts next;
        if (chunk + 1 < end) {
            loader.next(shared.stage[(chunk - first + 1) % 2], rows(chunk + 1));
            next = chunk_starts(w.in, a.b, chunk + 1);
        }
        if (w.chunk_states) a.keep(w.chunk_state<bf16>(a.b, chunk, a.h));
        cut |= starts.any();
        if (starts.any())
            a.template walk<true>(in, starts, rows(chunk));
        else
            a.template walk<false>(in, starts, rows(chunk));
        starts = next;
    }
    if (w.from_zero) {
        a.end([&](int p) { return w.state(a.b, a.segment, a.h) + p * w.in.N; });
        if (a.warp % 2 == 0 && a.p0 == 0 && a.channels > 0) a.leave_decay(first, end, cut);
    } else if (a.segment == w.segments - 1) {
        a.end([&](int p) { return &w.hT(a.b, a.h, p, 0); });
    }
}

size_t shared_bytes(int64_t N) { return N <= 64 ? sizeof(Shared<64>) : sizeof(Shared<128>); }

}  // namespace

void ssd_walk_chunked(Ctx& ctx, const SsdWalk<bf16>& walk, int64_t count) {
    const dim3 grid(blocks(count * walk.in.B * ssd_chunked_blocks(walk.in.H, walk.in.P, walk.in.G)));
    if (walk.in.N <= 64)
        launch_early(ctx.gpu->stream(), grid, dim3(kThreads), shared_bytes(64), chunked_kernel<64>, walk);
    else
        launch_early(ctx.gpu->stream(), grid, dim3(kThreads), shared_bytes(128), chunked_kernel<128>, walk);
}

}  // namespace adder::cuda
