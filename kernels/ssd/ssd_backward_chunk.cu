// Everything of the backward of ssd.h but the state's own gradient, on tensor cores: where chunk_states are
// bf16. See ssd_backward.cuh for the formulas.
//
// A block of 256 threads walks the heads of a group (64 channels at a time) in one chunk with d_B and d_C (64
// x N each) and the sum of dG in f32 accumulators, G beside. One block a multiprocessor, which has the tiles
// of two heads: one is worked on while the next is on its way; one barrier a head.
//
// Per head and step: P (6 N + 240) flops; bytes 6 P (x, dy, dx) + 4 P N / 64 (states, d_states) + 8 (steps).
// At P = 64, N = 128 with two walks of the states: 130 kflop and 1,430 bytes, so 0.33 ns of memory at 4.3
// TB/s against 0.22 ns of tensor cores at 600 Tflop/s. Shared memory: 145 KiB, whatever the shape.
//
// Steps outside the run, channels past P and columns past N are zeros in shared memory; results of such rows
// are dropped by selection. Sums over time are f32 accumulators in the order of the steps, over heads in
// their order. Longer than other files: one kernel and the pieces of it that share its shared memory.
#include "kernels/common/shared_memory.h"
#include "kernels/ssd/ssd_backward_tensor.cuh"

namespace adder::cuda {

namespace {

constexpr int kThreads = 256;
static_assert(kThreads == 4 * kChunk);

// Causal 16 x 16 tiles (j, i >= j) of a (step, step) matrix, each as eight f32 a lane; 10 of them. `half` of
// the two warps of row j has tiles i = j + half, j + half + 2.
constexpr int kPairTiles = 10;
__device__ __forceinline__ int pair_tile(int j, int i) {
    return j * 4 - j * (j - 1) / 2 + i - j;
}

// Shared memory of a block: offsets are constants, so that no register holds a pointer. Two buffers of tiles, in turns;
// two sets of partial sums, in turns by head.
struct ChunkTiles {
    static constexpr int kWide = 64 * kTileN, kNarrow = 64 * kTileP;  // elements of a tile
    static constexpr int kBuffer = 2 * kWide + 2 * kNarrow, kTiles = 2 * kWide + 2 * kBuffer;
    static constexpr int kSums = 12 * kChunk + 12;
    static constexpr int kFloats = kPairTiles * 256 + 4 * kChunk + 2 * kSums;
    static constexpr size_t kBytes = kTiles * sizeof(bf16) + kFloats * sizeof(float);

    static __device__ bf16* tile(int at) { return dynamic_shared<bf16>() + at; }
    static __device__ float* floats(int at) { return reinterpret_cast<float*>(dynamic_shared<bf16>() + kTiles) + at; }

    static __device__ bf16* B() { return tile(0); }  // 64 steps x 128
    static __device__ bf16* C() { return tile(kWide); }
    // 64 channels x 128: the state before the chunk, d_state after it
    static __device__ bf16* before(int buffer) { return tile(2 * kWide + buffer * kBuffer); }
    static __device__ bf16* after(int buffer) { return tile(3 * kWide + buffer * kBuffer); }
    // 64 steps x 64
    static __device__ bf16* x(int buffer) { return tile(4 * kWide + buffer * kBuffer); }
    static __device__ bf16* d_y(int buffer) { return tile(4 * kWide + kNarrow + buffer * kBuffer); }

    static __device__ float* G() { return floats(0); }  // kPairTiles x 256
    // By step; gain is zero outside the run.
    static __device__ float* s(int buffer) { return floats(kPairTiles * 256 + buffer * kChunk); }
    static __device__ float* gain(int buffer) { return floats(kPairTiles * 256 + (2 + buffer) * kChunk); }
    // Partial sums by step, of half of the columns or one row of causal tiles.
    static __device__ float* sums(int set, int at) { return floats(kPairTiles * 256 + 4 * kChunk + set * kSums + at); }
    static __device__ float* z(int set, int half) { return sums(set, half * kChunk); }
    static __device__ float* v(int set, int half) { return sums(set, (2 + half) * kChunk); }
    static __device__ float* x_u(int set, int half) { return sums(set, (4 + half) * kChunk); }
    static __device__ float* columns(int set, int half) { return sums(set, (6 + half) * kChunk); }
    static __device__ float* rows(int set, int row) { return sums(set, (8 + row) * kChunk); }
    // By warp.
    static __device__ float* through(int set) { return sums(set, 12 * kChunk); }
    static __device__ float* skip(int set) { return sums(set, 12 * kChunk + 8); }
};

// A lane's place in the block and in fragments.
struct Lane {
    int warp, lane, group, pair;
    int row, half;  // the 16 steps of its warp: [16 row, 16 row + 16); which of the two warps that have them

    __device__ Lane() {
        const int tid = static_cast<int>(threadIdx.x);
        warp = tid / kWarp, lane = tid % kWarp, group = lane / 4, pair = lane % 4;
        row = warp % 4, half = warp / 4;
    }
    __device__ int step(int k) const { return 16 * row + group + 8 * k; }  // k = 0, 1: the lane's two steps
};

// 64 x N of f32: a warp has 16 steps and every other 16 columns, beginning at 16 half.
using RowAccumulator = float[kTileN / 16][4];

// The sum over a quad, and in one lane of each quad kept (first) or added to what is there.
__device__ __forceinline__ void put_sum(float* to, float x, const Lane& l, bool first) {
    x = warp_sum<4>(x);
    if (l.pair == 0) *to = first ? x : *to + x;
}

struct HeadTask {
    int h, p0, channels, buffer, set;
    bool first, last;  // of the tiles of this head
};

// acc += scale o (A state), for the lane's two steps; A (64 x 64) and the state (64 x 128) in shared memory.
// Per step the dot product of what is added with `other` (64 x 128) goes to `dots`, by half.
__device__ __forceinline__ void add_state_part(RowAccumulator& acc, float* dots, const bf16* A, const bf16* state,
                                               const bf16* other, const float (&scale)[2], const Lane& l, int N,
                                               const HeadTask& head, const SsdRun& run) {
    uint32_t a[4][4];
#pragma unroll
    for (int k = 0; k < 4; ++k) load_a<kTileP>(a[k], A, 16 * l.row, 16 * k);
    const bool has[2] = {run.has(l.step(0)), run.has(l.step(1))};
    float dot[2] = {};
#pragma unroll
    for (int n = 0; n < 4; ++n) {
        const int n0 = 16 * l.half + 32 * n;
        if (n0 >= N) continue;
        float c[2][4] = {};
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            if (16 * k >= head.channels) continue;
            uint32_t b[4];
            load_b2<kTileN>(b, state, 16 * k, n0);
            mma_2(c[0], c[1], a[k], b);
        }
        uint32_t o[4];
        load_a<kTileN>(o, other, 16 * l.row, n0);
#pragma unroll
        for (int r = 0; r < 4; ++r) {  // o[r]: tile r / 2, step r % 2
            const float low = c[r / 2][r % 2 * 2], high = c[r / 2][r % 2 * 2 + 1];
            dot[r % 2] += low * low_bf16(o[r]) + high * high_bf16(o[r]);
            float(&to)[4] = acc[2 * n + r / 2];
            to[r % 2 * 2] += has[r % 2] ? scale[r % 2] * low : 0.0f;
            to[r % 2 * 2 + 1] += has[r % 2] ? scale[r % 2] * high : 0.0f;
        }
    }
#pragma unroll
    for (int k = 0; k < 2; ++k) put_sum(dots + l.step(k), scale[k] * dot[k], l, head.first);
}

// decay <before, after>: a part a warp.
__device__ __forceinline__ void state_dot(const Lane& l, const HeadTask& head, float decay) {
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < kTileP * kTileN / 8; i += kThreads) {
        const uint4 u = reinterpret_cast<const uint4*>(ChunkTiles::before(head.buffer))[i],
                    v = reinterpret_cast<const uint4*>(ChunkTiles::after(head.buffer))[i];
        sum += low_bf16(u.x) * low_bf16(v.x) + high_bf16(u.x) * high_bf16(v.x);
        sum += low_bf16(u.y) * low_bf16(v.y) + high_bf16(u.y) * high_bf16(v.y);
        sum += low_bf16(u.z) * low_bf16(v.z) + high_bf16(u.z) * high_bf16(v.z);
        sum += low_bf16(u.w) * low_bf16(v.w) + high_bf16(u.w) * high_bf16(v.w);
    }
    sum = decay * warp_sum(sum);
    if (l.lane == 0) {
        float& to = ChunkTiles::through(head.set)[l.warp];
        to = head.first ? sum : to + sum;
    }
}

// What a lane needs of its two steps, as rows j.
struct RowSteps {
    float s[2], gain[2];
};

// One causal tile (j, i): S' = L G as an A fragment, in two parts; where `own`, dG += L b M and the sums of W.
__device__ __forceinline__ void pair_step(uint32_t (&mix)[2][4], float (&d_G)[8], float (&column)[2], float& skip,
                                          const HeadTask& head, const RowSteps& j, const Lane& l, int tile_i,
                                          bool own) {
    float M[2][4] = {};
    if (own) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            if (16 * k >= head.channels) continue;
            uint32_t x[4], d_y[4];
            load_a<kTileP>(x, ChunkTiles::x(head.buffer), 16 * l.row, 16 * k);
            load_b2_transposed<kTileP>(d_y, ChunkTiles::d_y(head.buffer), 16 * k, 16 * tile_i);
            mma_2(M[0], M[1], x, d_y);
        }
    }
    const float4* G = reinterpret_cast<const float4*>(ChunkTiles::G() + pair_tile(l.row, tile_i) * 256) + l.lane;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
        const int i0 = 16 * tile_i + 8 * n + 2 * l.pair;
        const float4 g = G[n * kWarp];
        const float product[4] = {g.x, g.y, g.z, g.w};
        const float2 s_i = *reinterpret_cast<const float2*>(ChunkTiles::s(head.buffer) + i0);
        float S[4], row[2] = {};
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int k = r / 2, i = i0 + r % 2;
            const bool causal = i >= l.step(k);
            const float L = fast_exp2((r % 2 ? s_i.y : s_i.x) - j.s[k]);
            S[r] = causal ? L * product[r] : 0.0f;
            if (own) {
                const float d = causal ? L * j.gain[k] * M[n][r] : 0.0f;
                const float W = i > l.step(k) ? d * product[r] : 0.0f;
                d_G[4 * n + r] += d;
                column[k] += W;
                row[r % 2] += W;
                skip += i == l.step(k) ? M[n][r] : 0.0f;
            }
        }
#pragma unroll
        for (int k = 0; k < 2; ++k) split_bf16(mix[0][2 * n + k], mix[1][2 * n + k], S[2 * k], S[2 * k + 1]);
        if (!own) continue;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
#pragma unroll
            for (int d = 4; d < kWarp; d *= 2) row[r] += __shfl_xor_sync(kFullWarp, row[r], d);
            float* to = ChunkTiles::rows(head.set, l.row) + i0 + r;
            if (l.group == 0) *to = head.first ? row[r] : *to + row[r];
        }
    }
}

// d_x of one tile of channels, dG, and the sums by step of W and x u. A warp has 16 steps j and 32 channels.
__device__ __forceinline__ void input_gradient(const SsdBackwardArgs<bf16>& a, const SsdChunkTask& task,
                                               const HeadTask& head, const SsdRun& run, float (&u)[4][4],
                                               float (&d_G)[2][8], const Lane& l) {
    const bf16 *x = ChunkTiles::x(head.buffer), *d_y = ChunkTiles::d_y(head.buffer);
    RowSteps j;
#pragma unroll
    for (int k = 0; k < 2; ++k)
        j.s[k] = ChunkTiles::s(head.buffer)[l.step(k)], j.gain[k] = ChunkTiles::gain(head.buffer)[l.step(k)];
    float column[2] = {}, skip = 0;
#pragma unroll
    for (int d = 0; d < 4; ++d) {
        if (l.row + d >= 4) continue;
        uint32_t mix[2][4];
        pair_step(mix, d_G[d / 2], column, skip, head, j, l, l.row + d, d % 2 == l.half);
#pragma unroll
        for (int n = 0; n < 2; ++n) {
            uint32_t b[4];
            load_b2<kTileP>(b, d_y, 16 * (l.row + d), 32 * l.half + 16 * n);
            mma_2(u[2 * n], u[2 * n + 1], mix[0], b);
            mma_2(u[2 * n], u[2 * n + 1], mix[1], b);
        }
    }
    skip = warp_sum(skip);
    if (l.half == 0 && l.lane == 0) {
        float& to = ChunkTiles::skip(head.set)[l.row];
        to = head.first ? skip : to + skip;
    }
    float x_u[2] = {};
    const float D = a.in.D[head.h];
    const int64_t column0 = static_cast<int64_t>(head.h) * a.in.P + head.p0;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
        const int p = 32 * l.half + 16 * n;
        uint32_t xs[4], ys[4];
        load_a<kTileP>(xs, x, 16 * l.row, p);
        load_a<kTileP>(ys, d_y, 16 * l.row, p);
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            float2 d[2];
#pragma unroll
            for (int r = 0; r < 2; ++r) {  // fragment word 2 r + k: tile r, step k
                const float low = u[2 * n + r][2 * k], high = u[2 * n + r][2 * k + 1];
                const uint32_t w = ys[2 * r + k];
                x_u[k] += low * low_bf16(xs[2 * r + k]) + high * high_bf16(xs[2 * r + k]);
                d[r] = make_float2(j.gain[k] * low + D * low_bf16(w), j.gain[k] * high + D * high_bf16(w));
            }
            const int i = l.step(k);
            bf16* to = a.d_x.data + task.b * a.d_x.stride[0] + (task.t0 + i) * a.d_x.stride[1] + column0;
            store_row_16(to, p, head.channels, d[0], d[1], a.vector, run.has(i));
        }
    }
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        put_sum(ChunkTiles::x_u(head.set, l.half) + l.step(k), x_u[k], l, head.first);
        put_sum(ChunkTiles::columns(head.set, l.half) + l.step(k), column[k], l, head.first);
    }
}

// u = f o (B after^T): a warp has 16 steps and 32 channels.
__device__ __forceinline__ void state_input(float (&u)[4][4], const bf16* after, const float (&f)[2], const Lane& l,
                                            int N) {
#pragma unroll
    for (int k = 0; k < kTileN / 16; ++k) {
        if (16 * k >= N) continue;
        uint32_t a[4];
        load_a<kTileN>(a, ChunkTiles::B(), 16 * l.row, 16 * k);
#pragma unroll
        for (int n = 0; n < 2; ++n) {
            uint32_t b[4];
            load_b2_transposed<kTileN>(b, after, 16 * k, 32 * l.half + 16 * n);
            mma_2(u[2 * n], u[2 * n + 1], a, b);
        }
    }
#pragma unroll
    for (int n = 0; n < 4; ++n)
#pragma unroll
        for (int r = 0; r < 4; ++r) u[n][r] *= f[r / 2];
}

// G of this run, in causal tiles.
__device__ __forceinline__ void make_products(const Lane& l, int N) {
    for (int i = l.row + l.half; i < 4; i += 2) {
        float c[2][4] = {};
        for (int k0 = 0; k0 < N; k0 += 16) {
            uint32_t a[4], b[4];
            load_a<kTileN>(a, ChunkTiles::B(), 16 * l.row, k0);
            load_b2_transposed<kTileN>(b, ChunkTiles::C(), k0, 16 * i);
            mma_2(c[0], c[1], a, b);
        }
        float4* to = reinterpret_cast<float4*>(ChunkTiles::G() + pair_tile(l.row, i) * 256) + l.lane;
#pragma unroll
        for (int n = 0; n < 2; ++n) to[n * kWarp] = make_float4(c[n][0], c[n][1], c[n][2], c[n][3]);
    }
}

// acc += A other for the steps of the run; A in two parts, the second a buffer on; tiles k of A in [k0, k1).
template <bool Transposed>
__device__ __forceinline__ void add_pair_part(RowAccumulator& acc, const bf16* A, const bf16* other, int k0, int k1,
                                              const Lane& l, int N, const SsdRun& run) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
        const int n0 = 16 * l.half + 32 * n;
        if (n0 >= N) continue;
        float c[2][4] = {};
        for (int k = k0; k < k1; ++k) {
            uint32_t b[4];
            load_b2<kTileN>(b, other, 16 * k, n0);
#pragma unroll
            for (int part = 0; part < 2; ++part) {
                uint32_t a[4];
                if (Transposed)
                    load_a_transposed<kTileP>(a, A + part * ChunkTiles::kBuffer, 16 * l.row, 16 * k);
                else
                    load_a<kTileP>(a, A + part * ChunkTiles::kBuffer, 16 * l.row, 16 * k);
                mma_2(c[0], c[1], a, b);
            }
        }
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
            for (int m = 0; m < 2; ++m) acc[2 * n + m][r] += run.has(l.step(r / 2)) ? c[m][r] : 0.0f;
    }
}

struct ChunkGradients {
    RowAccumulator d_B, d_C;
    float d_G[2][8];
};

// The sum of dG over the heads meets B and C. Uses x as room.
__device__ __forceinline__ void spread_products(ChunkGradients& g, const Lane& l, int N, const SsdRun& run) {
    bf16* room = ChunkTiles::x(0);  // (j, i), the second part in the other buffer
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        const int i = l.row + l.half + 2 * k;
        if (i < 4) {
#pragma unroll
            for (int r = 0; r < 4; ++r) {  // r: column half, step
                const int at = tile_at<kTileP>(l.step(r % 2), 16 * i + r / 2 * 8 + 2 * l.pair);
                const float* d = g.d_G[k] + 4 * (r / 2) + 2 * (r % 2);
                split_bf16(*reinterpret_cast<uint32_t*>(room + at),
                           *reinterpret_cast<uint32_t*>(room + ChunkTiles::kBuffer + at), d[0], d[1]);
            }
        }
#pragma unroll
        for (int r = 0; r < 8; ++r) g.d_G[k][r] = 0;
    }
    __syncthreads();
    add_pair_part<false>(g.d_B, room, ChunkTiles::C(), l.row, 4, l, N, run);
    add_pair_part<true>(g.d_C, room, ChunkTiles::B(), 0, l.row + 1, l, N, run);
}

// One warp, for all tiles of a head: the partial sums of the block become d_dt_raw and parameter gradients.
__device__ __forceinline__ void finish_head(const SsdBackwardArgs<bf16>& a, const SsdChunkTask& task, const SsdRun& run,
                                            const HeadTask& head, const Lane& l) {
    SsdRunSums sums{};
    float pairs[2];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        const int i = 2 * l.lane + k;
        pairs[k] = 0;
        if (!run.has(i)) continue;
        sums.before[k] = run.first ? ChunkTiles::z(head.set, 0)[i] + ChunkTiles::z(head.set, 1)[i] : 0.0f;
        sums.after[k] = run.last ? ChunkTiles::v(head.set, 0)[i] + ChunkTiles::v(head.set, 1)[i] : 0.0f;
        sums.gain[k] = ChunkTiles::x_u(head.set, 0)[i] + ChunkTiles::x_u(head.set, 1)[i];
        pairs[k] = 0;
#pragma unroll
        for (int row = 0; row < 4; ++row) pairs[k] += ChunkTiles::rows(head.set, row)[i];
        pairs[k] -= ChunkTiles::columns(head.set, 0)[i] + ChunkTiles::columns(head.set, 1)[i];
    }
    // Pairs j < k <= i: those that end at k or later less those that begin there.
    const float later = warp_sum_down(pairs[0] + pairs[1]);
    sums.pairs[0] = later;
    sums.pairs[1] = later - pairs[0];
    if (run.whole())
        for (int w = 0; w < 8; ++w) sums.through += ChunkTiles::through(head.set)[w];
    for (int row = 0; row < 4; ++row) sums.skip += ChunkTiles::skip(head.set)[row];
    ssd_step_gradients(a, task, run, head.h, sums);
}

// Starts bringing everything that belongs to a tile of channels of a head.
__device__ __forceinline__ void bring_head(const SsdBackwardArgs<bf16>& a, const SsdChunkTask& task, const SsdRun& run,
                                           const HeadTask& head) {
    const int64_t column = static_cast<int64_t>(head.h) * a.in.P + head.p0;
    bring<kTileP, kThreads>(ChunkTiles::x(head.buffer), &a.in.x(task.b, task.t0, column), a.in.x.stride[1], run.begin,
                            run.end, head.channels, a.vector);
    bring<kTileP, kThreads>(ChunkTiles::d_y(head.buffer), &a.d_y(task.b, task.t0, column), a.d_y.stride[1], run.begin,
                            run.end, head.channels, a.vector);
    if (run.first)
        bring<kTileN, kThreads>(ChunkTiles::before(head.buffer),
                                a.state<bf16>(task.b, task.chunk, head.h) + head.p0 * a.in.N, a.in.N, 0,
                                head.channels, a.in.N, a.vector);
    if (run.last)
        bring<kTileN, kThreads>(ChunkTiles::after(head.buffer),
                                a.d_state<bf16>(task.b, task.chunk, head.h) + head.p0 * a.width, a.width, 0,
                                head.channels, a.width, true);
    commit_copies();
    const int i = static_cast<int>(threadIdx.x);
    if (i < kChunk) {
        const int64_t at = a.steps.row(task.b, head.h, a.in.H, task.chunk);
        const int from = run.source(i);
        ChunkTiles::s(head.buffer)[i] = from >= 0 ? a.steps.hi[at + from] : 0.0f;
        ChunkTiles::gain(head.buffer)[i] = run.has(i) ? a.steps.gain[at + i] : 0.0f;
    }
}

__device__ __forceinline__ HeadTask head_task(const SsdBackwardArgs<bf16>& a, const SsdChunkTask& task, int i,
                                              int tiles) {
    const int h = i / tiles, tile = i - h * tiles, p0 = tile * kTileP;
    const int channels = a.in.P - p0 < kTileP ? a.in.P - p0 : kTileP;
    return {task.h0 + h, p0, channels, i & 1, h & 1, tile == 0, tile + 1 == tiles};
}

__device__ __forceinline__ void do_head(const SsdBackwardArgs<bf16>& a, const SsdChunkTask& task, const SsdRun& run,
                                        const HeadTask& head, ChunkGradients& g, const Lane& l) {
    const float *s = ChunkTiles::s(head.buffer), *gain = ChunkTiles::gain(head.buffer);
    const bf16 *before = ChunkTiles::before(head.buffer), *after = ChunkTiles::after(head.buffer);
    const float end = s[run.end - 1];
    float u[4][4] = {};
    if (run.whole()) state_dot(l, head, fast_exp2(end));
    if (run.first) {
        const float e[2] = {fast_exp2(s[l.step(0)]), fast_exp2(s[l.step(1)])};
        add_state_part(g.d_C, ChunkTiles::z(head.set, l.half), ChunkTiles::d_y(head.buffer), before, ChunkTiles::C(), e,
                       l, a.in.N, head, run);
    }
    if (run.last) {
        const float f[2] = {fast_exp2(end - s[l.step(0)]), fast_exp2(end - s[l.step(1)])};
        const float input[2] = {f[0] * gain[l.step(0)], f[1] * gain[l.step(1)]};
        add_state_part(g.d_B, ChunkTiles::v(head.set, l.half), ChunkTiles::x(head.buffer), after, ChunkTiles::B(),
                       input, l, a.in.N, head, run);
        state_input(u, after, f, l, a.in.N);
    }
    input_gradient(a, task, head, run, u, g.d_G, l);
}

// All heads of the task in one run of steps.
__device__ __forceinline__ void do_run(const SsdBackwardArgs<bf16>& a, const SsdChunkTask& task, const SsdRun& run,
                                       ChunkGradients& g) {
    const Lane l;
    const int N = a.in.N, tiles = (a.in.P + kTileP - 1) / kTileP, items = (task.h1 - task.h0) * tiles;
    const int64_t column = static_cast<int64_t>(task.g) * N;
    bring<kTileN, kThreads>(ChunkTiles::B(), &a.in.Bm(task.b, task.t0, column), a.in.Bm.stride[1], run.begin, run.end,
                            N, a.vector);
    bring<kTileN, kThreads>(ChunkTiles::C(), &a.in.C(task.b, task.t0, column), a.in.C.stride[1], run.begin, run.end, N,
                            a.vector);
    HeadTask head = head_task(a, task, 0, tiles);
    bring_head(a, task, run, head);
    for (int v = 0; v < items; ++v) {
        wait_copies<0>();
        __syncthreads();
        // Of the tile before: its sums are complete now. Two of the warps with the fewest causal tiles take turns.
        if (v > 0) {
            const HeadTask done = head_task(a, task, v - 1, tiles);
            if (done.last && l.warp == 3 + 4 * done.set) finish_head(a, task, run, done, l);
        }
        if (v + 1 < items) bring_head(a, task, run, head_task(a, task, v + 1, tiles));
        if (v == 0) {
            make_products(l, N);
            __syncthreads();
        }
        head = head_task(a, task, v, tiles);
        do_head(a, task, run, head, g, l);
    }
    __syncthreads();
    if (l.warp == 3) finish_head(a, task, run, head, l);
    spread_products(g, l, N, run);
    __syncthreads();
}

// Rows of d_B (which = 0) or d_C (1): to storage, or to this set's partial sums.
__device__ __forceinline__ void write_rows(const SsdBackwardArgs<bf16>& a, const SsdChunkTask& task, int which,
                                           const View<bf16, 3>& to, const RowAccumulator& acc) {
    const Lane l;
    const int N = a.in.N;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        const int64_t t = task.t0 + l.step(k);
        const bool valid = l.step(k) < task.q;
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            const int n0 = 16 * l.half + 32 * n;
            const float(&c0)[4] = acc[2 * n], (&c1)[4] = acc[2 * n + 1];
            if (n0 >= N) continue;
            if (!a.rows) {
                bf16* row = to.data + task.b * to.stride[0] + t * to.stride[1] + static_cast<int64_t>(task.g) * N;
                store_row_16(row, n0, N, make_float2(c0[2 * k], c0[2 * k + 1]), make_float2(c1[2 * k], c1[2 * k + 1]),
                             a.vector, valid);
            } else if (valid) {
                float* row = a.partial_row(which, task.set, task.b, t, task.g);
#pragma unroll
                for (int r = 0; r < 4; ++r) {
                    const int col = n0 + r / 2 * 8 + 2 * l.pair + r % 2;
                    if (col < N) row[col] = acc[2 * n + r / 2][2 * k + r % 2];
                }
            }
        }
    }
}

__global__ void __launch_bounds__(kThreads, 1) chunk_kernel(SsdBackwardArgs<bf16> a) {
    const SsdChunkTask task(a);
    const ChunkStarts starts = chunk_starts(a.in, task.b, task.chunk);
    // Partial sums of tiles above the diagonal are never written.
    for (int set = 0; set < 2; ++set) ChunkTiles::rows(set, 0)[threadIdx.x] = 0;
    ChunkGradients g{};
    for (int begin = 0; begin < task.q;) {
        const SsdRun run = ssd_run_from(starts, begin, task.q);
        do_run(a, task, run, g);
        begin = run.end;
    }
    write_rows(a, task, 0, a.d_B, g.d_B);
    write_rows(a, task, 1, a.d_C, g.d_C);
}

}  // namespace

// No other kernel of them needs as much.
bool ssd_tensor_fits() { return ChunkTiles::kBytes <= most_shared_bytes(); }

void ssd_chunk_tensor(Ctx& ctx, const SsdBackwardArgs<bf16>& a) {
    launch(ctx.gpu->stream(), dim3(blocks(a.in.B * a.in.chunks() * a.in.G * a.sets)), dim3(kThreads),
           ChunkTiles::kBytes, chunk_kernel, a);
}

}  // namespace adder::cuda
