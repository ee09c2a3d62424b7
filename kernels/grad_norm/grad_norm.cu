// Sum of squares over a list of tensors and the first of them that is not finite. Floor: 4 bytes read for each element.
#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/grad_norm/grad_norm_cuda.h"

namespace adder::cuda {

namespace {

constexpr int kThreads = 256, kVector = 4, kVectors = static_cast<int>(kPieceElements) / (kThreads * kVector);
constexpr int kGatherThreads = 1024;

// Mapping: block = one piece; thread i takes the vectors i, i + 256, ... of four elements.
// Order of sums, in f64: a thread's elements in order, then block_sum. Squares of f32 cannot overflow f64: the sum is
// finite exactly when all elements are. Unaligned tensors and tails are read one element at a time.
__global__ void __launch_bounds__(kThreads) square_pieces_kernel(const GradNormTensor* tensors, const Piece* pieces,
                                                                 GradNorm* partials) {
    __shared__ double room[kThreads / kWarp];
    const Piece piece = pieces[blockIdx.x];
    const GradNormTensor t = tensors[piece.tensor];
    const int64_t first = piece.number * kPieceElements;
    const float* x = t.data + first;
    const int n = static_cast<int>(min(t.n - first, kPieceElements));
    float value[kVectors][kVector];
#pragma unroll
    for (int j = 0; j < kVectors; ++j) {
        const int i = (static_cast<int>(threadIdx.x) + j * kThreads) * kVector;
        if (t.aligned && i + kVector <= n) {
            load<kVector>(x + i, value[j]);
        } else {
#pragma unroll
            for (int v = 0; v < kVector; ++v) value[j][v] = i + v < n ? x[i + v] : 0.0f;
        }
    }
    double sum = 0;
#pragma unroll
    for (int j = 0; j < kVectors; ++j)
#pragma unroll
        for (int v = 0; v < kVector; ++v) {
            const double wide = value[j][v];
            sum = fma(wide, wide, sum);
        }
    sum = block_sum<kThreads>(sum, room);
    if (threadIdx.x == 0) {
        GradNorm partial;
        partial.sum_of_squares = sum;
        partial.first_bad = isfinite(sum) ? -1 : piece.tensor;
        partials[blockIdx.x] = partial;
    }
}

// One block; thread i takes the pieces i, i + 1024, ... in order, then block_sum. Pieces are in the order of the tensors.
__global__ void __launch_bounds__(kGatherThreads) gather_pieces_kernel(const GradNorm* partials, int64_t n, GradNorm* norm) {
    __shared__ double room[kGatherThreads / kWarp];
    __shared__ unsigned bad_room[kGatherThreads / kWarp];
    double sum = 0;
    unsigned bad = ~0u;
    for (int64_t i = threadIdx.x; i < n; i += kGatherThreads) {
        const GradNorm partial = partials[i];
        sum += partial.sum_of_squares;
        bad = min(bad, static_cast<unsigned>(partial.first_bad));  // -1 is the largest
    }
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) bad = min(bad, __shfl_xor_sync(kFullWarp, bad, offset));
    if (threadIdx.x % kWarp == 0) bad_room[threadIdx.x / kWarp] = bad;
    sum = block_sum<kGatherThreads>(sum, room);
    if (threadIdx.x > 0) return;
    for (int i = 1; i < kGatherThreads / kWarp; ++i) bad = min(bad, bad_room[i]);
    GradNorm all;
    all.sum_of_squares = sum;
    all.first_bad = static_cast<int32_t>(bad);
    *norm = all;
}

}  // namespace

void grad_norm(Ctx& ctx, void* table, const GradNormLayout& layout, GradNorm* norm) {
    auto* bytes = static_cast<char*>(table);
    const auto* tensors = reinterpret_cast<const GradNormTensor*>(bytes);
    const auto* pieces = reinterpret_cast<const Piece*>(bytes + layout.pieces_at());
    auto* partials = reinterpret_cast<GradNorm*>(bytes + layout.partials_at());
    const cudaStream_t stream = ctx.gpu->stream();
    launch(stream, dim3(blocks(layout.pieces)), kThreads, 0, square_pieces_kernel, tensors, pieces, partials);
    launch(stream, dim3(1), kGatherThreads, 0, gather_pieces_kernel, partials, layout.pieces, norm);
}

}  // namespace adder::cuda
