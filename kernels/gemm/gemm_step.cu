// One step: y(b,:) = W x(b,:) + bias for a few rows b: in bf16 step_product.cuh, in f32 on FMA units. W is
// streamed once for every 8 rows in f32. A row's sum goes over K in an order that depends on I alone: not on
// B, the row's place, strides or alignment.
#include "kernels/gemm/gemm_cuda.h"
#include "kernels/gemm/gemm_plan.h"
#include "kernels/gemm/step_wide.cuh"

namespace adder::cuda {

namespace {

using step::kThreads, step::kWarps;

struct PlainStep {
    const float *x, *weight, *bias;  // bias: null = none
    float* y;
    int B, I, O;
    int64_t x_stride, weight_stride, y_stride;
};

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
__global__ void __launch_bounds__(kThreads) step_f32_kernel(PlainStep p) {
    const int lane = threadIdx.x % kWarp, o = blockIdx.x * kWarps + static_cast<int>(threadIdx.x) / kWarp;
    const int b0 = blockIdx.y * kRowsF32, rows = min(p.B - b0, kRowsF32);
    const float* w = p.weight + min(o, p.O - 1) * p.weight_stride;
    const float* x = p.x + b0 * p.x_stride;
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
            p.y[(b0 + r) * p.y_stride + o] = p.bias ? total + p.bias[o] : total;
    }
}

// Vector loads are possible: rows start on 16 bytes and hold whole vectors.
bool wide(const TensorRef& t) {
    const int64_t row = t.stride[0] * size_of(t.dtype), width = t.size(t.rank() - 1) * size_of(t.dtype);
    return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && (t.size(0) == 1 || row % 16 == 0) &&
           width % 16 == 0;
}

}  // namespace

void linear_step(Ctx& ctx, const LinearArgs& args, const TensorRef& y) {
    expect_neighbours("linear_step", "x", args.x);
    expect_neighbours("linear_step", "weight", args.weight);
    expect_neighbours("linear_step", "y", y);
    const int B = static_cast<int>(args.x.size(0)), I = static_cast<int>(args.x.size(2));
    const int O = static_cast<int>(args.weight.size(0));
    const int64_t x_stride = args.x.stride[0], weight_stride = args.weight.stride[0], y_stride = y.stride[0];
    const float* bias = args.bias.as<const float, 1>("bias").data;
    const bool vectors = wide(args.x) && wide(args.weight);
    const cudaStream_t stream = ctx.gpu->stream();
    if (args.x.dtype == DType::f32) {
        const PlainStep p{static_cast<const float*>(args.x.data),
                          static_cast<const float*>(args.weight.data),
                          bias,
                          static_cast<float*>(y.data),
                          B,
                          I,
                          O,
                          x_stride,
                          weight_stride,
                          y_stride};
        const dim3 grid(blocks(ceil_div(O, kWarps)), static_cast<unsigned>(ceil_div(B, kRowsF32)));
        return launch_early(stream, grid, kThreads, 0,
                            vectors ? step_f32_kernel<true> : step_f32_kernel<false>, p);
    }
    const step::Problem p{static_cast<const bf16*>(args.weight.data), weight_stride, B, I, O,
                          B > step::kRows};
    const step::Store store{bias, y.data, y.dtype == DType::f32, y_stride, step::in_fours(y)};
    const auto* x = static_cast<const bf16*>(args.x.data);
    if (vectors)
        step::multiply_rows(stream, p, step::PlainRows<true>{x, x_stride}, store);
    else
        step::start_product(stream, p, step::PlainRows<false>{x, x_stride}, store);
}

}  // namespace adder::cuda
