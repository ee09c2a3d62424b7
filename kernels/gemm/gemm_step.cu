// One step: y(b,:) = W x(b,:) + bias for a few rows b. W is streamed once for every 64 rows (8 in f32): O I elements, the
// floor; at B = 1 the latency of one load is what is left: it is given before the kernel before has ended. A row's sum goes over K in an order that depends on I alone:
// not on B, the row's place, strides or alignment.
#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"
#include "kernels/gemm/gemm_cuda.h"
#include "kernels/gemm/gemm_plan.h"

namespace adder::cuda {

namespace {

struct StepProblem {
    const void *x, *weight;
    const float* bias;  // null = none
    void* y;
    bool y_f32;
    int B, I, O;
    int64_t x_stride, weight_stride, y_stride;
};

constexpr int kWarps = 8, kThreads = kWarps * kWarp;

// ---- bf16, on tensor cores ----

constexpr int kOutputs = 8;    // of a block: the columns of an instruction
constexpr int kRows = 16;      // of x: the rows of an instruction
constexpr int kChunk = 32;     // of K: two instructions
constexpr int kInFlight = 4;   // chunks that a warp loads before it uses the first

struct Eight {
    uint32_t two[4];
};

// Elements [k, k + 8) of a row, zeros past I. kWide: 16 bytes at once; I % 8 == 0 and rows are aligned then.
template <bool kWide>
__device__ __forceinline__ Eight load_eight(const bf16* row, int k, int I, bool valid) {
    Eight e = {};
    if constexpr (kWide) {
        if (valid && k < I) {
            const uint4 v = *reinterpret_cast<const uint4*>(row + k);
            e.two[0] = v.x, e.two[1] = v.y, e.two[2] = v.z, e.two[3] = v.w;
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (valid && k + i < I) e.two[i / 2] |= static_cast<uint32_t>(row[k + i].bits) << (i % 2 * 16);
    }
    return e;
}

// Mapping: block = 8 outputs and 16 kTiles rows; warp w takes the chunks w, w + 8, ... of K. The lanes of one instruction's
// row hold four neighbouring runs of eight k, of which it takes the first halves, then the second: which k meets
// which is the same in x and W, so the order inside an instruction does not matter, and all loads are 16 bytes.
// Order of sums: a warp's chunks one after the other, then the eight warps in order, then bias.
template <int kTiles, bool kWide>
__global__ void __launch_bounds__(kThreads) step_bf16_kernel(StepProblem p) {
    __shared__ float room[kWarps][kTiles * kRows][kOutputs];
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, group = lane / 4, pair = lane % 4;
    const int o = blockIdx.x * kOutputs + group, b0 = blockIdx.y * kTiles * kRows;
    const bf16* w = static_cast<const bf16*>(p.weight) + min(o, p.O - 1) * p.weight_stride;
    const bf16* x = static_cast<const bf16*>(p.x);

    Eight right[kInFlight], coming[kInFlight];
    const auto load_weights = [&](Eight(&to)[kInFlight], int chunk) {
#pragma unroll
        for (int j = 0; j < kInFlight; ++j)
            to[j] = load_eight<kWide>(w, (chunk + j * kWarps) * kChunk + pair * 8, p.I, o < p.O);
    };
    load_weights(right, warp);
    release_next();
    wait_for_previous();  // x, not the weights, comes from the kernel before

    float sum[kTiles][4] = {};
    for (int chunk = warp; chunk * kChunk < p.I; chunk += kWarps * kInFlight) {
        load_weights(coming, chunk + kWarps * kInFlight);
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
            const int b = b0 + tile * kRows + group;
            const bf16* upper_row = x + min(b, p.B - 1) * p.x_stride;
            const bf16* lower_row = x + min(b + 8, p.B - 1) * p.x_stride;
            Eight upper[kInFlight], lower[kInFlight];
#pragma unroll
            for (int j = 0; j < kInFlight; ++j) {
                const int k = (chunk + j * kWarps) * kChunk + pair * 8;
                upper[j] = load_eight<kWide>(upper_row, k, p.I, b < p.B);
                lower[j] = load_eight<kWide>(lower_row, k, p.I, b + 8 < p.B);
            }
#pragma unroll
            for (int j = 0; j < kInFlight; ++j)
#pragma unroll
                for (int half = 0; half < 4; half += 2)
                    mma_16x8x16(sum[tile],
                                {upper[j].two[half], lower[j].two[half], upper[j].two[half + 1], lower[j].two[half + 1]},
                                {right[j].two[half], right[j].two[half + 1]});
        }
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) right[j] = coming[j];
    }
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) room[warp][tile * kRows + group + i / 2 * 8][pair * 2 + i % 2] = sum[tile][i];
    __syncthreads();
    for (int i = threadIdx.x; i < kTiles * kRows * kOutputs; i += kThreads) {
        const int row = i / kOutputs, column = i % kOutputs, b = b0 + row, out = blockIdx.x * kOutputs + column;
        if (b >= p.B || out >= p.O) continue;
        float total = room[0][row][column];
#pragma unroll
        for (int from = 1; from < kWarps; ++from) total += room[from][row][column];
        if (p.bias) total += p.bias[out];
        const int64_t at = b * p.y_stride + out;
        if (p.y_f32)
            static_cast<float*>(p.y)[at] = total;
        else
            static_cast<bf16*>(p.y)[at] = from_float<bf16>(total);
    }
}

// ---- f32, on FMA units ----

constexpr int kRowsF32 = 8;

template <bool kWide>
__device__ __forceinline__ void load_four(const float* row, int k, int I, float (&to)[4]) {
    if constexpr (kWide) {
        if (k < I) return load<4>(row + k, to);
        to[0] = to[1] = to[2] = to[3] = 0;
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) to[i] = k + i < I ? row[k + i] : 0.0f;
    }
}

// Mapping: warp = one output and 8 rows; a lane takes four neighbouring k of every 128.
// Order of sums: a lane's k one after the other, lanes by halving distances, then bias.
template <bool kWide>
__global__ void __launch_bounds__(kThreads) step_f32_kernel(StepProblem p) {
    const int lane = threadIdx.x % kWarp, o = blockIdx.x * kWarps + static_cast<int>(threadIdx.x) / kWarp;
    const int b0 = blockIdx.y * kRowsF32, rows = min(p.B - b0, kRowsF32);
    const float* w = static_cast<const float*>(p.weight) + min(o, p.O - 1) * p.weight_stride;
    const float* x = static_cast<const float*>(p.x) + b0 * p.x_stride;
    release_next();
    wait_for_previous();
    float sum[kRowsF32] = {};
#pragma unroll 2
    for (int k = lane * 4; k < p.I; k += kWarp * 4) {
        float right[4];
        load_four<kWide>(w, k, p.I, right);
#pragma unroll
        for (int r = 0; r < kRowsF32; ++r) {
            if (r >= rows) break;
            float left[4];
            load_four<kWide>(x + r * p.x_stride, k, p.I, left);
#pragma unroll
            for (int i = 0; i < 4; ++i) sum[r] = fmaf(left[i], right[i], sum[r]);
        }
    }
#pragma unroll
    for (int r = 0; r < kRowsF32; ++r) {
        const float total = warp_sum(sum[r]);
        if (lane == 0 && r < rows && o < p.O)
            static_cast<float*>(p.y)[(b0 + r) * p.y_stride + o] = p.bias ? total + p.bias[o] : total;
    }
}

// Vector loads are possible: rows start on 16 bytes and hold whole vectors.
bool wide(const TensorRef& t) {
    const int64_t row = t.stride[0] * size_of(t.dtype), width = t.size(t.rank() - 1) * size_of(t.dtype);
    return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && (t.size(0) == 1 || row % 16 == 0) && width % 16 == 0;
}

}  // namespace

void linear_step(Ctx& ctx, const LinearArgs& args, const TensorRef& y) {
    expect_neighbours("linear_step", "x", args.x);
    expect_neighbours("linear_step", "weight", args.weight);
    expect_neighbours("linear_step", "y", y);
    StepProblem p;
    p.x = args.x.data;
    p.weight = args.weight.data;
    p.bias = args.bias.as<const float, 1>("bias").data;
    p.y = y.data;
    p.y_f32 = y.dtype == DType::f32;
    p.B = static_cast<int>(args.x.size(0));
    p.I = static_cast<int>(args.x.size(2));
    p.O = static_cast<int>(args.weight.size(0));
    p.x_stride = args.x.stride[0];
    p.weight_stride = args.weight.stride[0];
    p.y_stride = y.stride[0];
    const bool vectors = wide(args.x) && wide(args.weight);
    const cudaStream_t stream = ctx.gpu->stream();
    const auto rows = [&](int64_t n) { return static_cast<unsigned>(ceil_div(p.B, n)); };
    if (args.x.dtype == DType::f32) {
        const dim3 grid(blocks(ceil_div(p.O, kWarps)), rows(kRowsF32));
        return launch_early(stream, grid, kThreads, 0, vectors ? step_f32_kernel<true> : step_f32_kernel<false>, p);
    }
    const unsigned columns = blocks(ceil_div(p.O, kOutputs));
    if (p.B <= kRows)
        launch_early(stream, dim3(columns, 1), kThreads, 0,
                     vectors ? step_bf16_kernel<1, true> : step_bf16_kernel<1, false>, p);
    else
        launch_early(stream, dim3(columns, rows(4 * kRows)), kThreads, 0,
                     vectors ? step_bf16_kernel<4, true> : step_bf16_kernel<4, false>, p);
}

}  // namespace adder::cuda
