// The gradient of the state of ssd.h at every chunk's end, on tensor cores: where chunk_states are bf16.
//
// A block of 128 threads carries 64 channels x N of one head's d_state, in f32 accumulators, from the end of a segment
// of time to its begin; a warp has 16 channels. Per chunk: d_state -> bf16 -> scratch, then d_state = decay d_state +
// (e o dy)^T C, with e o dy in two parts. Tiles of the chunk before are on their way meanwhile. Three blocks a
// multiprocessor, 49 KiB of shared memory each.
//
// Per head and step: 4 P N flops (twice with segments); bytes 2 P (dy) + 2 P N / 64 (d_states), C from cache.
//
// Steps past the end and from the first start on, channels past P and columns past N are zeros in shared memory.
#include "kernels/ssd/ssd_backward_tensor.cuh"

namespace adder::cuda {

namespace {

constexpr int kThreads = 128;

using StatesAccumulator = float[kTileN / 8][4];

struct StatesTiles {
    bf16 *d_y, *C;  // 64 x 64, 64 x 128
    float* e;       // kChunk: decay from the chunk's begin through a step; 0 from the first start on
    float* decay;   // of the whole chunk; -1 = a start cuts it
};

__device__ __forceinline__ StatesTiles states_tiles(int buffer) {
    auto* room = dynamic_shared<unsigned char>();
    bf16* tiles = reinterpret_cast<bf16*>(room) + buffer * kChunk * (kTileP + kTileN);
    float* scalars =
        reinterpret_cast<float*>(room + 2 * kChunk * (kTileP + kTileN) * sizeof(bf16)) + buffer * (kChunk + 4);
    return {tiles, tiles + kChunk * kTileP, scalars, scalars + kChunk};
}
constexpr size_t kStatesShared = 2 * (kChunk * (kTileP + kTileN) * sizeof(bf16) + (kChunk + 4) * sizeof(float));

__device__ __forceinline__ void bring_states(const SsdBackwardArgs<bf16>& a, const SsdStatesTask& task, int64_t chunk,
                                             const StatesTiles& to) {
    const int64_t t0 = chunk * kChunk;
    const ChunkStarts starts = chunk_starts(a.in, task.b, chunk);
    const int q = static_cast<int>(a.in.L - t0 < kChunk ? a.in.L - t0 : kChunk);
    const int rows = starts.first() < q ? starts.first() : q, p0 = task.tile * kTileP;
    bring<kTileP, kThreads>(to.d_y, &a.d_y(task.b, t0, task.h * a.in.P + p0), a.d_y.stride[1], 0, rows, a.in.P - p0,
                            a.vector);
    bring<kTileN, kThreads>(to.C, &a.in.C(task.b, t0, a.in.group(task.h) * a.in.N), a.in.C.stride[1], 0, rows, a.in.N,
                            a.vector);
    commit_copies();
    const int i = static_cast<int>(threadIdx.x);
    if (i < kChunk) {
        const float e = fast_exp2(a.steps.hi[a.steps.row(task.b, task.h, a.in.H, chunk) + i]);
        to.e[i] = i < rows ? e : 0.0f;
        if (i == kChunk - 1) *to.decay = starts.any() ? -1.0f : e;
    }
}

// acc += (e o dy)^T C, late steps, whose share has decayed, first; a warp has channels [m0, m0 + 16).
__device__ __forceinline__ void add_chunk(StatesAccumulator& acc, const StatesTiles& tiles, int m0, int N) {
    const int pair = static_cast<int>(threadIdx.x) % 4;
#pragma unroll 2
    for (int k0 = kChunk - 16; k0 >= 0; k0 -= 16) {
        uint32_t d_y[4], rest[4];
        load_a_transposed<kTileP>(d_y, tiles.d_y, m0, k0);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const float2 e = *reinterpret_cast<const float2*>(tiles.e + k0 + r / 2 * 8 + 2 * pair);
            split_bf16(d_y[r], rest[r], e.x * low_bf16(d_y[r]), e.y * high_bf16(d_y[r]));
        }
#pragma unroll
        for (int n = 0; n < kTileN / 16; ++n) {
            if (n * 16 >= N) continue;
            uint32_t C[4];
            load_b2<kTileN>(C, tiles.C, k0, n * 16);
            mma_2(acc[2 * n], acc[2 * n + 1], d_y, C);
            mma_2(acc[2 * n], acc[2 * n + 1], rest, C);
        }
    }
}

// f32 (P,N) at `from`, rows `stride` apart; null = zero. p is the lane's first channel.
__device__ __forceinline__ void read_accumulator(StatesAccumulator& acc, const float* from, int64_t stride, int p,
                                                 int P, int N) {
    const int pair = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int n = 0; n < kTileN / 8; ++n)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int row = p + r / 2 * 8, col = n * 8 + 2 * pair + r % 2;
            acc[n][r] = from && row < P && col < N ? from[row * stride + col] : 0.0f;
        }
}
__device__ __forceinline__ void write_accumulator(const StatesAccumulator& acc, float* to, int64_t stride, int p, int P,
                                                  int N) {
    const int pair = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int n = 0; n < kTileN / 8; ++n)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int row = p + r / 2 * 8, col = n * 8 + 2 * pair + r % 2;
            if (row < P && col < N) to[row * stride + col] = acc[n][r];
        }
}

__global__ void __launch_bounds__(kThreads, 3) states_kernel(SsdBackwardArgs<bf16> a, bool local) {
    const int P = a.in.P, N = a.in.N, tid = static_cast<int>(threadIdx.x);
    const SsdStatesTask task(a, (P + kTileP - 1) / kTileP, local);
    const int m0 = tid / kWarp * 16, p = task.tile * kTileP + m0 + tid % kWarp / 4;
    StatesAccumulator acc;
    if (local)
        read_accumulator(acc, nullptr, 0, p, P, N);
    else if (a.segments > 1)
        read_accumulator(acc, a.carry_of(task.b, task.seg, task.h), a.width, p, P, N);
    else
        read_accumulator(acc, a.d_h ? &a.d_h(task.b, task.h, 0, 0) : nullptr, a.d_h.stride[2], p, P, N);
    float total = 1;
    bool cut = false;
    bring_states(a, task, task.c1 - 1, states_tiles(static_cast<int>((task.c1 - 1) & 1)));
    for (int64_t chunk = task.c1 - 1; chunk >= task.c0; --chunk) {
        wait_copies<0>();
        __syncthreads();
        if (chunk > task.c0) bring_states(a, task, chunk - 1, states_tiles(static_cast<int>((chunk - 1) & 1)));
        const StatesTiles tiles = states_tiles(static_cast<int>(chunk & 1));
        if (!local) {
            bf16* to = a.d_state<bf16>(task.b, chunk, task.h);
#pragma unroll
            for (int n = 0; n < kTileN / 16; ++n) {
                if (n * 16 >= N) continue;
                const float(&c0)[4] = acc[2 * n], (&c1)[4] = acc[2 * n + 1];
                store_row_16(to + static_cast<int64_t>(p) * a.width, n * 16, a.width, make_float2(c0[0], c0[1]),
                             make_float2(c1[0], c1[1]), true, p < P);
                store_row_16(to + static_cast<int64_t>(p + 8) * a.width, n * 16, a.width, make_float2(c0[2], c0[3]),
                             make_float2(c1[2], c1[3]), true, p + 8 < P);
            }
        }
        const float decay = *tiles.decay;
        const bool starts = decay < 0;
        cut = cut || starts;
        total *= decay;
#pragma unroll
        for (int n = 0; n < kTileN / 8; ++n)
#pragma unroll
            for (int r = 0; r < 4; ++r) acc[n][r] = starts ? 0.0f : acc[n][r] * decay;
        add_chunk(acc, tiles, m0, N);
    }
    if (local) {
        write_accumulator(acc, a.carry_of(task.b, task.seg, task.h), a.width, p, P, N);
        if (tid == 0 && task.tile == 0) a.decay_of(task.b, task.seg, task.h) = cut ? -1.0f : total;
    } else if (task.seg == 0 && a.d_h) {
        write_accumulator(acc, &a.d_h(task.b, task.h, 0, 0), a.d_h.stride[2], p, P, N);
    }
}

}  // namespace

void ssd_states_tensor(Ctx& ctx, const SsdBackwardArgs<bf16>& a, bool local) {
    const int64_t walked = a.segments - local, tiles = ceil_div(a.in.P, kTileP);
    launch(ctx.gpu->stream(), dim3(blocks(a.in.B * walked * a.in.H * tiles)), dim3(kThreads), kStatesShared,
           states_kernel, a, local);
}

}  // namespace adder::cuda
