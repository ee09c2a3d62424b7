// The linear map and its gradient by x as products of matrices. Floor: 2 B L I O operations on tensor cores (bf16) or FMA
// units (f32), B L (I + O) + O I elements moved.
#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/gemm/gemm_cuda.h"
#include "kernels/gemm/gemm_plan.h"
#include "kernels/gemm/product.cuh"

namespace adder::cuda {

namespace {

constexpr int kFillRows = 8, kFillThreads = 256;

// y(b,t,:) = bias, to which a product is then added. Block = 8 rows, its threads go through their elements. Writes
// B L O elements.
template <class T>
__global__ void __launch_bounds__(kFillThreads) fill_rows_kernel(View<const float, 1> bias, View<T, 3> y) {
    const int64_t L = y.shape[1], first = static_cast<int64_t>(blockIdx.x) * kFillRows;
    const int64_t b0 = first / L, t0 = first % L;
    const int O = static_cast<int>(y.shape[2]);
    const int rows = static_cast<int>(min(y.shape[0] * L - first, static_cast<int64_t>(kFillRows)));
    for (int i = threadIdx.x; i < rows * O; i += kFillThreads) {
        int64_t b = b0, t = t0 + i / O;
        for (; t >= L; t -= L) ++b;
        y(b, t, i % O) = from_float<T>(bias(i % O));
    }
}

void fill_rows(cudaStream_t stream, const TensorRef& bias, const TensorRef& y) {
    const dim3 grid(blocks(ceil_div(y.size(0) * y.size(1), kFillRows)));
    const View<const float, 1> from = bias.as<const float, 1>("bias");
    if (y.dtype == DType::f32)
        launch(stream, grid, kFillThreads, 0, fill_rows_kernel<float>, from, y.as<float, 3>("y"));
    else
        launch(stream, grid, kFillThreads, 0, fill_rows_kernel<bf16>, from, y.as<bf16, 3>("y"));
}

// y = x W^T where `transposed`, else x W, row by row; added to y where `add`. weight (O,I).
Product product_of(const TensorRef& x, const TensorRef& weight, bool transposed, const TensorRef& y, bool add) {
    const RowPairs rows = rows_of(x, y);
    Product p;
    p.in = x.dtype;
    p.out = y.dtype;
    p.M = rows.rows;
    p.N = weight.size(transposed ? 0 : 1);
    p.K = weight.size(transposed ? 1 : 0);
    p.batch = rows.batch;
    p.a = {rows.x.data, rows.x.stride, false, rows.x.member_stride};
    p.b = {weight.data, weight.stride[0], transposed, 0};
    p.c = const_cast<void*>(rows.y.data);
    p.ldc = rows.y.stride;
    p.c_batch_stride = rows.y.member_stride;
    p.add = add;
    return p;
}

// Columns of the first of the products that y is cut into, all of them where it is not cut. Over many rows a product whose
// columns are no whole tiles takes up to twice as long as one of whole tiles; the rest reads x once more.
int64_t whole_tiles(const Product& p) {
    constexpr int64_t kTile = 128, kManyRows = 2048, kFewestTiles = 4;
    if (p.in != DType::bf16 || p.M * p.batch < kManyRows || p.N < kFewestTiles * kTile) return p.N;
    return p.N / kTile * kTile;
}

// The product of columns [first, first + n) of y alone.
Product columns_of(Product p, int64_t first, int64_t n) {
    p.N = n;
    p.b.data = static_cast<const char*>(p.b.data) + first * p.b.ld * size_of(p.in);
    p.c = static_cast<char*>(p.c) + first * size_of(p.out);
    return p;
}

}  // namespace

void linear_forward(Ctx& ctx, const LinearArgs& args, const TensorRef& y, void* scratch) {
    expect_neighbours("linear_forward", "x", args.x);
    expect_neighbours("linear_forward", "weight", args.weight);
    expect_neighbours("linear_forward", "y", y);
    if (args.bias) fill_rows(ctx.gpu->stream(), args.bias, y);
    const Product p = product_of(args.x, args.weight, true, y, static_cast<bool>(args.bias));
    const int64_t whole = whole_tiles(p);
    multiply(ctx, columns_of(p, 0, whole), scratch);
    if (whole < p.N) multiply(ctx, columns_of(p, whole, p.N - whole), scratch);
}

void linear_backward_input(Ctx& ctx, const LinearArgs& args, const TensorRef& d_y, const TensorRef& d_x, bool add,
                           void* scratch) {
    expect_neighbours("linear_backward_input", "d_y", d_y);
    expect_neighbours("linear_backward_input", "weight", args.weight);
    expect_neighbours("linear_backward_input", "d_x", d_x);
    multiply(ctx, product_of(d_y, args.weight, false, d_x, add), scratch);
}

}  // namespace adder::cuda
