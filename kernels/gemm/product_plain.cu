// C = A B for any sizes, strides and alignment.
//
// Mapping: block = 64 x 64 of C of one member of the batch, 16 x 16 threads; thread (x, y) owns rows y + 16 i and columns
// x + 16 j, i, j < 4. A and B pass through shared memory in steps of 16 along K.
// Moves (M N K / 64) (size of A's and B's elements) bytes from L2, 2 M N K operations on FMA units.
// Tails: zeros are loaded outside, nothing is stored. Order of sums: along K, one after the other.
#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/gemm/product.cuh"

namespace adder::cuda {

namespace {

constexpr int kTile = 64, kDepth = 16, kSide = 16, kEach = kTile / kSide, kThreads = kSide * kSide;

// to[k][i] = element (i0 + i, k0 + k) of a factor with `n` rows (columns of B) and K columns (rows of B). `along_k`: its
// neighbours in memory are neighbours in k.
template <class T>
__device__ __forceinline__ void load_panel(float (&to)[kDepth][kTile + 1], const T* from, int64_t ld, bool along_k, int n,
                                           int depth) {
#pragma unroll
    for (int j = 0; j < kTile * kDepth / kThreads; ++j) {
        const int at = static_cast<int>(threadIdx.x) + j * kThreads;
        const int k = along_k ? at % kDepth : at / kTile, i = along_k ? at / kDepth : at % kTile;
        const bool inside = i < n && k < depth;
        const int64_t offset = along_k ? i * ld + k : k * ld + i;
        to[k][i] = inside ? to_float(from[offset]) : 0.0f;
    }
}

template <class In, class Out>
__global__ void __launch_bounds__(kThreads) product_kernel(Product p, int64_t row_tiles, int64_t column_tiles) {
    __shared__ float a[kDepth][kTile + 1], b[kDepth][kTile + 1];
    const int64_t tile = blockIdx.x % (row_tiles * column_tiles), member = blockIdx.x / (row_tiles * column_tiles);
    const int64_t m0 = tile / column_tiles * kTile, n0 = tile % column_tiles * kTile;
    const int rows = static_cast<int>(min(p.M - m0, static_cast<int64_t>(kTile)));
    const int columns = static_cast<int>(min(p.N - n0, static_cast<int64_t>(kTile)));
    const In* from_a = static_cast<const In*>(p.a.data) + member * p.a.batch_stride + (p.a.transposed ? m0 : m0 * p.a.ld);
    const In* from_b = static_cast<const In*>(p.b.data) + member * p.b.batch_stride + (p.b.transposed ? n0 * p.b.ld : n0);
    const int x = threadIdx.x % kSide, y = threadIdx.x / kSide;

    float sum[kEach][kEach] = {};
    for (int64_t k0 = 0; k0 < p.K; k0 += kDepth) {
        const int depth = static_cast<int>(min(p.K - k0, static_cast<int64_t>(kDepth)));
        load_panel(a, from_a + (p.a.transposed ? k0 * p.a.ld : k0), p.a.ld, !p.a.transposed, rows, depth);
        load_panel(b, from_b + (p.b.transposed ? k0 : k0 * p.b.ld), p.b.ld, p.b.transposed, columns, depth);
        __syncthreads();
        for (int k = 0; k < depth; ++k) {
            float left[kEach], right[kEach];
#pragma unroll
            for (int i = 0; i < kEach; ++i) left[i] = a[k][y + i * kSide], right[i] = b[k][x + i * kSide];
#pragma unroll
            for (int i = 0; i < kEach; ++i)
#pragma unroll
                for (int j = 0; j < kEach; ++j) sum[i][j] = fmaf(left[i], right[j], sum[i][j]);
        }
        __syncthreads();
    }
    Out* c = static_cast<Out*>(p.c) + member * p.c_batch_stride + m0 * p.ldc + n0;
#pragma unroll
    for (int i = 0; i < kEach; ++i)
#pragma unroll
        for (int j = 0; j < kEach; ++j) {
            const int m = y + i * kSide, n = x + j * kSide;
            if (m >= rows || n >= columns) continue;
            Out& to = c[m * p.ldc + n];
            to = from_float<Out>(p.add ? to_float(to) + sum[i][j] : sum[i][j]);
        }
}

}  // namespace

void multiply_plainly(cudaStream_t stream, const Product& p) {
    const int64_t row_tiles = ceil_div(p.M, kTile), column_tiles = ceil_div(p.N, kTile);
    const dim3 grid(blocks(row_tiles * column_tiles * p.batch));
    if (p.in == DType::f32)
        return launch(stream, grid, kThreads, 0, product_kernel<float, float>, p, row_tiles, column_tiles);
    if (p.out == DType::f32)
        return launch(stream, grid, kThreads, 0, product_kernel<bf16, float>, p, row_tiles, column_tiles);
    launch(stream, grid, kThreads, 0, product_kernel<bf16, bf16>, p, row_tiles, column_tiles);
}

}  // namespace adder::cuda
