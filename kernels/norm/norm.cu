// Memory-bound: every element is read and written once, rows wait in registers for the sums over them. With T bytes of
// storage an element, forward moves T + 4 + 4 + T (T + 4 + T without a residual), backward 4 + T + 4 + 4.
#include "kernels/common/partial_sums.cuh"
#include "kernels/common/row_runs.cuh"
#include "kernels/norm/norm_cuda.h"

namespace adder::cuda {

namespace {

constexpr int V = 4;  // neighbouring elements of a thread: 16 bytes of f32

template <class T>
struct Forward {
    View<const T, 3> x;
    View<const float, 3> residual;
    const float* weight;
    float eps;
    View<float, 3> out;
    View<T, 3> y;
    int64_t rows;
    int M;
};

// kWarpRow: warp w of block i has row 8 i + w, M <= 256. Else block i has row i, M <= 8,192. Elements of a thread: see
// row_runs.cuh. Needs every row aligned to four elements, M % 4 == 0.
template <class T, bool kWarpRow>
__global__ void __launch_bounds__(kWarpRow ? kWarp * kWarpsPerBlock : kMostThreads<V>) forward_rows(const Forward<T> a) {
    __shared__ float room[kWarp];
    const int lanes = kWarpRow ? kWarp : static_cast<int>(blockDim.x);
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    const int64_t row = kWarpRow ? int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.x / kWarp : int64_t{blockIdx.x};
    if (row >= a.rows) return;
    release_next();
    wait_for_previous();
    const T* x = row_of(a.x, row);
    const float* residual = a.residual ? row_of(a.residual, row) : nullptr;
    float r[kPasses][V] = {}, before[kPasses][V] = {};
#pragma unroll
    for (int p = 0; p < kPasses; ++p) {
        const int m = (p * lanes + lane) * V;
        if (m >= a.M) continue;
        load<V>(x + m, r[p]);
        if (residual) load<V>(residual + m, before[p]);
    }
    float squares[1] = {0};
    float* out = row_of(a.out, row);
#pragma unroll
    for (int p = 0; p < kPasses; ++p) {
        const int m = (p * lanes + lane) * V;
#pragma unroll
        for (int i = 0; i < V; ++i) {
            if (residual) r[p][i] += before[p][i];
            squares[0] += r[p][i] * r[p][i];
        }
        if (m < a.M) store<V>(out + m, r[p]);
    }
    sum_over_row<kWarpRow>(squares, room);
    const float scale = 1 / sqrtf(squares[0] / static_cast<float>(a.M) + a.eps);
    T* y = row_of(a.y, row);
#pragma unroll
    for (int p = 0; p < kPasses; ++p) {
        const int m = (p * lanes + lane) * V;
        if (m >= a.M) continue;
        float w[V];
        load<V>(a.weight + m, w);
#pragma unroll
        for (int i = 0; i < V; ++i) w[i] *= r[p][i] * scale;
        store<V>(y + m, w);
    }
}

// Any M and alignment: warp w of block i has row 8 i + w and reads back what it has added.
template <class T>
__global__ void __launch_bounds__(kWarp* kWarpsPerBlock) forward_any(const Forward<T> a) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int64_t row = int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.x / kWarp;
    if (row >= a.rows) return;
    const T* x = row_of(a.x, row);
    const float* residual = a.residual ? row_of(a.residual, row) : nullptr;
    float* out = row_of(a.out, row);
    T* y = row_of(a.y, row);
    float squares = 0;
#pragma unroll 4
    for (int m = lane; m < a.M; m += kWarp) {
        const float r = residual ? residual[m] + to_float(x[m]) : to_float(x[m]);
        out[m] = r;
        squares += r * r;
    }
    const float scale = 1 / sqrtf(warp_sum(squares) / static_cast<float>(a.M) + a.eps);
#pragma unroll 4
    for (int m = lane; m < a.M; m += kWarp) y[m] = from_float<T>(out[m] * scale * a.weight[m]);
}

template <class T>
struct Backward {
    View<const float, 3> r;
    const float* weight;
    float eps;
    View<const T, 3> d_y;
    View<float, 3> d_residual;
    T* d_x;  // rows are contiguous; may be absent; not with f32
    float* partial;  // (runs, M): the weight's gradient of each run
    int64_t rows, per_run;
    int M;
};

struct Moments {
    float scale, pull;
};

// Of a row with sums {r^2, d_y weight r}.
__device__ __forceinline__ Moments moments_of(const float (&sums)[2], int M, float eps) {
    const float width = static_cast<float>(M);
    const float scale = 1 / sqrtf(sums[0] / width + eps);
    return {scale, scale * scale * scale * sums[1] / width};
}

// Block i walks the rows of run i; kWarpRow: its warp w those of them that are w modulo 8, M <= 256; else all threads
// share each row, M <= 8,192. A thread sums the weight's gradient of its columns over its rows in order; warps are
// added in order. Alignment as in forward.
template <class T, bool kWarpRow>
__global__ void __launch_bounds__(kWarpRow ? kWarp * kWarpsPerBlock : kMostThreads<V>)
    backward_rows(const Backward<T> a) {
    constexpr int kWarpColumns = kLongestWarpRow<V>;
    __shared__ __align__(16) float room[kWarpRow ? kWarpsPerBlock * kWarpColumns : 2 * 2 * kWarp];
    const int lanes = kWarpRow ? kWarp : static_cast<int>(blockDim.x);
    const int lane = static_cast<int>(threadIdx.x) % lanes, warp = kWarpRow ? static_cast<int>(threadIdx.x) / kWarp : 0;
    const int64_t begin = int64_t{blockIdx.x} * a.per_run;
    const int64_t end = min(a.rows, begin + a.per_run);
    float weight[kPasses][V] = {}, d_weight[kPasses][V] = {};
#pragma unroll
    for (int p = 0; p < kPasses; ++p)
        if (const int m = (p * lanes + lane) * V; m < a.M) load<V>(a.weight + m, weight[p]);
    int turn = 0;
    for (int64_t row = begin + warp; row < end; row += kWarpRow ? kWarpsPerBlock : 1, turn ^= 1) {
        const float* r_row = row_of(a.r, row);
        const T* d_y_row = row_of(a.d_y, row);
        float* d_row = row_of(a.d_residual, row);
        float r[kPasses][V] = {}, d_y[kPasses][V] = {}, d[kPasses][V] = {};
#pragma unroll
        for (int p = 0; p < kPasses; ++p) {
            const int m = (p * lanes + lane) * V;
            if (m >= a.M) continue;
            load<V>(r_row + m, r[p]);
            load<V>(d_y_row + m, d_y[p]);
            load<V>(d_row + m, d[p]);
        }
        float sums[2] = {0, 0};
#pragma unroll
        for (int p = 0; p < kPasses; ++p)
#pragma unroll
            for (int i = 0; i < V; ++i) {
                sums[0] += r[p][i] * r[p][i];
                sums[1] += d_y[p][i] * weight[p][i] * r[p][i];
            }
        sum_over_row<kWarpRow>(sums, room + turn * 2 * kWarp);
        const Moments row_moments = moments_of(sums, a.M, a.eps);
#pragma unroll
        for (int p = 0; p < kPasses; ++p) {
            const int m = (p * lanes + lane) * V;
#pragma unroll
            for (int i = 0; i < V; ++i) {
                const float g = d_y[p][i] * row_moments.scale;
                d_weight[p][i] += g * r[p][i];
                d[p][i] += g * weight[p][i] - row_moments.pull * r[p][i];
            }
            if (m >= a.M) continue;
            store<V>(d_row + m, d[p]);
            if constexpr (std::is_same_v<T, bf16>)
                if (a.d_x) store<V>(a.d_x + row * a.M + m, d[p]);
        }
    }
    float* partial = a.partial + int64_t{blockIdx.x} * a.M;
    if constexpr (kWarpRow) {
#pragma unroll
        for (int p = 0; p < kPasses; ++p) store<V>(room + warp * kWarpColumns + (p * kWarp + lane) * V, d_weight[p]);
        __syncthreads();
        const int m = static_cast<int>(threadIdx.x);
        if (m >= a.M) return;
        float sum = room[m];
        for (int w = 1; w < kWarpsPerBlock; ++w) sum += room[w * kWarpColumns + m];
        partial[m] = sum;
    } else {
#pragma unroll
        for (int p = 0; p < kPasses; ++p)
            for (int i = 0; i < V; ++i)
                if (const int m = (p * lanes + lane) * V; m < a.M) partial[m + i] = d_weight[p][i];
    }
}

// Any M and alignment: block i walks run i, 32 rows at a time; first each warp takes the sums over four of the rows, then
// each thread walks the rows in its columns.
template <class T>
__global__ void __launch_bounds__(kWarp* kWarpsPerBlock) backward_any(const Backward<T> a) {
    constexpr int kRows = 32;
    __shared__ Moments moments[kRows];
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    const int64_t run_begin = int64_t{blockIdx.x} * a.per_run, run_end = min(a.rows, run_begin + a.per_run);
    float* partial = a.partial + int64_t{blockIdx.x} * a.M;
    for (int64_t begin = run_begin; begin < run_end; begin += kRows) {
        const int n = static_cast<int>(min(int64_t{kRows}, run_end - begin));
        for (int i = warp; i < n; i += kWarpsPerBlock) {
            const float* r = row_of(a.r, begin + i);
            const T* d_y = row_of(a.d_y, begin + i);
            float sums[2] = {0, 0};
            for (int m = lane; m < a.M; m += kWarp) {
                sums[0] += r[m] * r[m];
                sums[1] += to_float(d_y[m]) * a.weight[m] * r[m];
            }
            sum_over_row<true>(sums, nullptr);
            if (lane == 0) moments[i] = moments_of(sums, a.M, a.eps);
        }
        __syncthreads();
        for (int m = static_cast<int>(threadIdx.x); m < a.M; m += static_cast<int>(blockDim.x)) {
            float sum = begin == run_begin ? 0 : partial[m];
            for (int i = 0; i < n; ++i) {
                const float r = row_of(a.r, begin + i)[m];
                const float g = to_float(row_of(a.d_y, begin + i)[m]) * moments[i].scale;
                sum += g * r;
                float* d = row_of(a.d_residual, begin + i) + m;
                *d += g * a.weight[m] - moments[i].pull * r;
                if constexpr (std::is_same_v<T, bf16>)
                    if (a.d_x) a.d_x[(begin + i) * a.M + m] = from_float<T>(*d);
            }
            partial[m] = sum;
        }
        __syncthreads();
    }
}

// Whether rows can be read in packs of V.
template <class T>
bool packed(const View<T, 3>& v, int64_t M) {
    return vector_width(v, M) >= V;
}
bool packed(const float* p) { return reinterpret_cast<uintptr_t>(p) % (V * sizeof(float)) == 0; }

template <class T>
void forward(cudaStream_t stream, const Forward<T>& a) {
    const int64_t M = a.M;
    const RowRuns runs = row_runs(a.rows, M, V, 1);
    const bool fits = M <= kLongestRow<V> && packed(a.x, M) && (!a.residual || packed(a.residual, M)) &&
                      packed(a.weight) && packed(a.out, M) && packed(a.y, M);
    const unsigned grid = blocks(ceil_div(a.rows, kWarpsPerBlock));
    if (!fits)
        launch(stream, grid, kWarp * kWarpsPerBlock, 0, forward_any<T>, a);
    else if (runs.warp_rows)
        launch_early(stream, grid, kWarp * kWarpsPerBlock, 0, forward_rows<T, true>, a);
    else
        launch_early(stream, blocks(a.rows), runs.threads, 0, forward_rows<T, false>, a);
}

template <class T>
void backward(cudaStream_t stream, Backward<T> a, float* d_weight) {
    const int64_t M = a.M;
    const RowRuns runs = row_runs(a.rows, M, V, 1);
    a.per_run = runs.per_run;
    const bool fits = M <= kLongestRow<V> && packed(a.r, M) && packed(a.weight) && packed(a.d_y, M) &&
                      packed(a.d_residual, M) && reinterpret_cast<uintptr_t>(a.d_x) % (V * sizeof(T)) == 0;
    const unsigned grid = blocks(runs.runs);
    if (!fits)
        launch(stream, grid, kWarp * kWarpsPerBlock, 0, backward_any<T>, a);
    else if (runs.warp_rows)
        launch(stream, grid, runs.threads, 0, backward_rows<T, true>, a);
    else
        launch(stream, grid, runs.threads, 0, backward_rows<T, false>, a);
    add_partial_sums(stream, {a.partial, runs.runs, M, d_weight, M});
}

template <class T>
Forward<T> typed_forward(const AddNormArgs& args, const TensorRef& residual_out, const TensorRef& y) {
    return {args.x.as<const T, 3>("x"),
            args.residual.as<const float, 3>("residual"),
            args.weight.ptr<const float>("weight"),
            args.eps,
            residual_out.as<float, 3>("residual_out"),
            y.as<T, 3>("y"),
            y.size(0) * y.size(1),
            static_cast<int>(y.size(2))};
}

template <class T>
Backward<T> typed_backward(const AddNormArgs& args, const AddNormGrads& g, void* scratch) {
    return {g.residual_out.as<const float, 3>("residual_out"),
            args.weight.ptr<const float>("weight"),
            args.eps,
            g.d_y.as<const T, 3>("d_y"),
            g.d_residual.as<float, 3>("d_residual"),
            g.d_x ? g.d_x.ptr<T>("d_x") : nullptr,
            static_cast<float*>(scratch),
            g.d_y.size(0) * g.d_y.size(1),
            0,
            static_cast<int>(g.d_y.size(2))};
}

}  // namespace

void add_norm_forward(Ctx& ctx, const AddNormArgs& args, const TensorRef& residual_out, const TensorRef& y) {
    if (y.numel() == 0) return;
    if (y.dtype == DType::f32)
        forward(ctx.gpu->stream(), typed_forward<float>(args, residual_out, y));
    else
        forward(ctx.gpu->stream(), typed_forward<bf16>(args, residual_out, y));
}

int64_t add_norm_backward_scratch_bytes(int64_t B, int64_t L, int64_t M) {
    return B * L == 0 ? 0 : row_runs(B * L, M, V, 1).runs * M * int64_t{sizeof(float)};
}

void add_norm_backward(Ctx& ctx, const AddNormArgs& args, const AddNormGrads& grads, void* scratch) {
    if (grads.d_y.numel() == 0) return;
    float* d_weight = grads.d_weight.ptr<float>("d_weight");
    if (grads.d_y.dtype == DType::f32)
        backward(ctx.gpu->stream(), typed_backward<float>(args, grads, scratch), d_weight);
    else
        backward(ctx.gpu->stream(), typed_backward<bf16>(args, grads, scratch), d_weight);
}

}  // namespace adder::cuda
