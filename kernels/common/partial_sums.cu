#include "kernels/common/partial_sums.cuh"

#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"

namespace adder::cuda {

namespace {

constexpr int kColumns = 32, kMostRows = 32;

// Thread (x, y) of block j adds the partials y, y + blockDim.y, ... of column 32 j + x; thread (x, 0) adds those sums in
// order of y. Bytes: 4 n (n_partials + 2).
__global__ void __launch_bounds__(kColumns* kMostRows) add_partials(const PartialSums a) {
    __shared__ float sums[kMostRows][kColumns];
    const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
    const int rows = static_cast<int>(blockDim.y);
    const int64_t i = int64_t{blockIdx.x} * kColumns + x;
    float sum = 0;
    wait_for_previous();
    if (i < a.n) {
#pragma unroll 8
        for (int64_t p = y; p < a.n_partials; p += rows) sum += a.partial[p * a.n + i];
    }
    sums[y][x] = sum;
    __syncthreads();
    if (y != 0 || i >= a.n) return;
    for (int j = 1; j < rows; ++j) sum += sums[j][x];
    float* to = i < a.n_total ? a.total + i : a.rest + (i - a.n_total);
    *to += sum;
}

}  // namespace

void add_partial_sums(cudaStream_t stream, const PartialSums& sums) {
    if (sums.n == 0 || sums.n_partials == 0) return;
    unsigned rows = 1;
    while (rows < kMostRows && rows < sums.n_partials) rows *= 2;
    launch_early(stream, blocks(ceil_div(sums.n, kColumns)), dim3(kColumns, rows), 0, add_partials, sums);
}

}  // namespace adder::cuda
