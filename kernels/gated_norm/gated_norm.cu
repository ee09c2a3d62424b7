// Memory-bound: forward moves 3 B L D sizeof(T) bytes, backward 5; rows wait in registers for the sums over them. A row
// here is one group of one (b, t).
#include "kernels/common/partial_sums.cuh"
#include "kernels/common/row_runs.cuh"
#include "kernels/gated_norm/gated_norm_cuda.h"

namespace adder::cuda {

namespace {

template <class T>
constexpr int kPack = 16 / sizeof(T);  // neighbouring elements of a thread
// The most threads and elements of a row: fewer than row_runs.cuh allows where registers would not last.
template <class T>
constexpr int kMostRowThreads = sizeof(T) == 4 ? 768 : kMostThreads<kPack<T>>;
template <class T>
constexpr int64_t kLongest = int64_t{kMostRowThreads<T>} * kPasses * kPack<T>;

template <class T>
struct Forward {
    View<const T, 3> x, z;
    const float* weight;
    View<T, 3> y;  // may be x
    float eps;
    int G, n;  // groups, channels of a group
    int64_t rows;
};

// Thread block and row: kWarpRow: warp w of block i has row 8 i + w, n <= 64 V; else block i has row i, n <= 8,192 (f32: 6,144). Rows
// are counted through with the group innermost; elements of a thread: see row_runs.cuh. Needs every row of a group
// aligned to 16 bytes, n a multiple of V.
template <class T, bool kWarpRow>
__global__ void __launch_bounds__(kWarpRow ? kWarp * kWarpsPerBlock : kMostRowThreads<T>)
    forward_rows(const Forward<T> a) {
    constexpr int V = kPack<T>;
    __shared__ float room[kWarp];
    const int lanes = kWarpRow ? kWarp : static_cast<int>(blockDim.x);
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    const int64_t row = kWarpRow ? int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.x / kWarp : int64_t{blockIdx.x};
    if (row >= a.rows) return;
    const int64_t position = row / a.G;
    const int first = static_cast<int>(row - position * a.G) * a.n;
    release_next();
    wait_for_previous();
    const T* x = row_of(a.x, position) + first;
    const T* z = row_of(a.z, position) + first;
    float g[kPasses][V] = {}, gate[kPasses][V] = {};
#pragma unroll
    for (int p = 0; p < kPasses; ++p) {
        const int m = (p * lanes + lane) * V;
        if (m >= a.n) continue;
        load<V>(x + m, g[p]);
        load<V>(z + m, gate[p]);
    }
    float squares[1] = {0};
#pragma unroll
    for (int p = 0; p < kPasses; ++p)
#pragma unroll
        for (int i = 0; i < V; ++i) {
            g[p][i] *= gate[p][i] * fast_sigmoid(gate[p][i]);
            squares[0] += g[p][i] * g[p][i];
        }
    sum_over_row<kWarpRow>(squares, room);
    const float scale = 1 / sqrtf(squares[0] / static_cast<float>(a.n) + a.eps);
    T* y = row_of(a.y, position) + first;
#pragma unroll
    for (int p = 0; p < kPasses; ++p) {
        const int m = (p * lanes + lane) * V;
        if (m >= a.n) continue;
        float w[V];
        load<V>(a.weight + first + m, w);
#pragma unroll
        for (int i = 0; i < V; ++i) w[i] *= g[p][i] * scale;
        store<V>(y + m, w);
    }
}

__device__ __forceinline__ float gated(float x, float z) { return x * (z * fast_sigmoid(z)); }

// Any n and alignment: warp w of block i has row 8 i + w and reads it twice; a lane reads an element before it writes it.
template <class T>
__global__ void __launch_bounds__(kWarp* kWarpsPerBlock) forward_any(const Forward<T> a) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int64_t row = int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.x / kWarp;
    if (row >= a.rows) return;
    const int64_t position = row / a.G;
    const int first = static_cast<int>(row - position * a.G) * a.n;
    const T* x = row_of(a.x, position) + first;
    const T* z = row_of(a.z, position) + first;
    T* y = row_of(a.y, position) + first;
    float squares = 0;
#pragma unroll 4
    for (int m = lane; m < a.n; m += kWarp) {
        const float g = gated(to_float(x[m]), to_float(z[m]));
        squares += g * g;
    }
    const float scale = 1 / sqrtf(warp_sum(squares) / static_cast<float>(a.n) + a.eps);
#pragma unroll 4
    for (int m = lane; m < a.n; m += kWarp)
        y[m] = from_float<T>(gated(to_float(x[m]), to_float(z[m])) * scale * a.weight[first + m]);
}

template <class T>
struct Backward {
    View<const T, 3> x, z, d_y;
    View<T, 3> d_x, d_z;  // d_x may be d_y
    const float* weight;
    float* partial;  // (runs, D): the weight's gradient of each run
    float eps;
    int G, n;
    int64_t rows, per_run;  // rows: positions (b, t)
};

struct Moments {
    float scale, pull;
};

// Of a row with sums {g^2, d_y weight g}.
__device__ __forceinline__ Moments moments_of(const float (&sums)[2], int n, float eps) {
    const float width = static_cast<float>(n);
    const float scale = 1 / sqrtf(sums[0] / width + eps);
    return {scale, scale * scale * scale * sums[1] / width};
}

// What one element gives back.
struct Gradients {
    float weight, x, z;
};
__device__ __forceinline__ Gradients gradients_of(float x, float z, float d_y, float weight, const Moments& row) {
    const float s = fast_sigmoid(z), gate = z * s, g = x * gate;
    const float up = d_y * row.scale, d_g = up * weight - row.pull * g;
    return {up * g, d_g * gate, d_g * x * (s * (1.0f + z * (1.0f - s)))};
}

// Block i walks the positions of run i / G in group i % G; kWarpRow: its warp w those that are w modulo 8, n <= 64 V; else
// all threads share each, n as in forward. A thread sums the weight's gradient of its columns over its rows in order; warps are
// added in order. Rows wait as they were loaded. Alignment as in forward.
template <class T, bool kWarpRow>
__global__ void __launch_bounds__(kWarpRow ? kWarp * kWarpsPerBlock : kMostRowThreads<T>)
    backward_rows(const Backward<T> a) {
    constexpr int V = kPack<T>, kWarpColumns = kLongestWarpRow<V>;
    __shared__ __align__(16) float room[kWarpRow ? kWarpsPerBlock * kWarpColumns : 2 * 2 * kWarp];
    const int lanes = kWarpRow ? kWarp : static_cast<int>(blockDim.x);
    const int lane = static_cast<int>(threadIdx.x) % lanes, warp = kWarpRow ? static_cast<int>(threadIdx.x) / kWarp : 0;
    const int64_t run = blockIdx.x / a.G;
    const int first = static_cast<int>(blockIdx.x - run * a.G) * a.n;
    const int64_t begin = run * a.per_run, end = min(a.rows, begin + a.per_run);
    float d_weight[kPasses][V] = {};
    int turn = 0;
    for (int64_t row = begin + warp; row < end; row += kWarpRow ? kWarpsPerBlock : 1, turn ^= 1) {
        Packed<T, V> x_in[kPasses] = {}, z_in[kPasses] = {}, d_y_in[kPasses] = {};
#pragma unroll
        for (int p = 0; p < kPasses; ++p) {
            const int m = (p * lanes + lane) * V;
            if (m >= a.n) continue;
            x_in[p] = load_packed<V>(row_of(a.x, row) + first + m);
            z_in[p] = load_packed<V>(row_of(a.z, row) + first + m);
            d_y_in[p] = load_packed<V>(row_of(a.d_y, row) + first + m);
        }
        float sums[2] = {0, 0};
#pragma unroll
        for (int p = 0; p < kPasses; ++p) {
            float x[V], z[V], d_y[V], w[V] = {};
            unpack<T, V>(x_in[p], x);
            unpack<T, V>(z_in[p], z);
            unpack<T, V>(d_y_in[p], d_y);
            if (const int m = (p * lanes + lane) * V; m < a.n) load<V>(a.weight + first + m, w);
#pragma unroll
            for (int i = 0; i < V; ++i) {
                const float g = gated(x[i], z[i]);
                sums[0] += g * g;
                sums[1] += d_y[i] * w[i] * g;
            }
        }
        sum_over_row<kWarpRow>(sums, room + turn * 2 * kWarp);
        const Moments moments = moments_of(sums, a.n, a.eps);
#pragma unroll
        for (int p = 0; p < kPasses; ++p) {
            const int m = (p * lanes + lane) * V;
            if (m >= a.n) continue;
            float x[V], z[V], d_y[V], w[V];
            unpack<T, V>(x_in[p], x);
            unpack<T, V>(z_in[p], z);
            unpack<T, V>(d_y_in[p], d_y);
            load<V>(a.weight + first + m, w);
#pragma unroll
            for (int i = 0; i < V; ++i) {
                const Gradients d = gradients_of(x[i], z[i], d_y[i], w[i], moments);
                d_weight[p][i] += d.weight, x[i] = d.x, z[i] = d.z;
            }
            store<V>(row_of(a.d_x, row) + first + m, x);
            store<V>(row_of(a.d_z, row) + first + m, z);
        }
    }
    float* partial = a.partial + run * a.G * a.n + first;
    if constexpr (kWarpRow) {
#pragma unroll
        for (int p = 0; p < kPasses; ++p) store<V>(room + warp * kWarpColumns + (p * kWarp + lane) * V, d_weight[p]);
        __syncthreads();
        for (int m = static_cast<int>(threadIdx.x); m < a.n; m += kWarp * kWarpsPerBlock) {
            float sum = room[m];
            for (int w = 1; w < kWarpsPerBlock; ++w) sum += room[w * kWarpColumns + m];
            partial[m] = sum;
        }
    } else {
#pragma unroll
        for (int p = 0; p < kPasses; ++p)
#pragma unroll
            for (int i = 0; i < V; ++i)
                if (const int m = (p * lanes + lane) * V; m < a.n) partial[m + i] = d_weight[p][i];
    }
}

// Any n and alignment: block i walks run i / G in group i % G, 32 positions at a time; first each warp takes the sums over
// four of them, then each thread walks them in its columns.
template <class T>
__global__ void __launch_bounds__(kWarp* kWarpsPerBlock) backward_any(const Backward<T> a) {
    constexpr int kRows = 32;
    __shared__ Moments moments[kRows];
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    const int64_t run = blockIdx.x / a.G;
    const int first = static_cast<int>(blockIdx.x - run * a.G) * a.n;
    const int64_t run_begin = run * a.per_run, run_end = min(a.rows, run_begin + a.per_run);
    float* partial = a.partial + run * a.G * a.n + first;
    for (int64_t begin = run_begin; begin < run_end; begin += kRows) {
        const int rows = static_cast<int>(min(int64_t{kRows}, run_end - begin));
        for (int i = warp; i < rows; i += kWarpsPerBlock) {
            const T* x = row_of(a.x, begin + i) + first;
            const T* z = row_of(a.z, begin + i) + first;
            const T* d_y = row_of(a.d_y, begin + i) + first;
            float sums[2] = {0, 0};
            for (int m = lane; m < a.n; m += kWarp) {
                const float g = gated(to_float(x[m]), to_float(z[m]));
                sums[0] += g * g;
                sums[1] += to_float(d_y[m]) * a.weight[first + m] * g;
            }
            sum_over_row<true>(sums, nullptr);
            if (lane == 0) moments[i] = moments_of(sums, a.n, a.eps);
        }
        __syncthreads();
        for (int m = static_cast<int>(threadIdx.x); m < a.n; m += static_cast<int>(blockDim.x)) {
            float sum = begin == run_begin ? 0 : partial[m];
            const float weight = a.weight[first + m];
            for (int i = 0; i < rows; ++i) {
                const int64_t row = begin + i;
                const float x = to_float(row_of(a.x, row)[first + m]), z = to_float(row_of(a.z, row)[first + m]);
                const float d_y = to_float(row_of(a.d_y, row)[first + m]);
                const Gradients d = gradients_of(x, z, d_y, weight, moments[i]);
                sum += d.weight;
                row_of(a.d_x, row)[first + m] = from_float<T>(d.x);
                row_of(a.d_z, row)[first + m] = from_float<T>(d.z);
            }
            partial[m] = sum;
        }
        __syncthreads();
    }
}

bool aligned(const float* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// Whether the rows of groups of n channels can be read in packs.
template <class T>
bool packed(const View<T, 3>& v, int64_t n) {
    return vector_width(v, n) == kPack<T>;
}

template <class T>
void forward(cudaStream_t stream, const Forward<T>& a) {
    const RowRuns runs = row_runs(a.rows, a.n, kPack<T>, 1);
    const bool fits = a.n <= kLongest<T> && packed(a.x, a.n) && packed(a.z, a.n) && packed(a.y, a.n) &&
                      aligned(a.weight);
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
    const RowRuns runs = row_runs(a.rows, a.n, kPack<T>, a.G);
    a.per_run = runs.per_run;
    const bool fits = a.n <= kLongest<T> && packed(a.x, a.n) && packed(a.z, a.n) && packed(a.d_y, a.n) &&
                      packed(a.d_x, a.n) && packed(a.d_z, a.n) && aligned(a.weight);
    const unsigned grid = blocks(runs.runs * a.G);
    if (!fits)
        launch(stream, grid, kWarp * kWarpsPerBlock, 0, backward_any<T>, a);
    else if (runs.warp_rows)
        launch(stream, grid, runs.threads, 0, backward_rows<T, true>, a);
    else
        launch(stream, grid, runs.threads, 0, backward_rows<T, false>, a);
    const int64_t D = int64_t{a.G} * a.n;
    add_partial_sums(stream, {a.partial, runs.runs, D, d_weight, D});
}

template <class T>
void forward_typed(Ctx& ctx, const GatedNormArgs& args, const TensorRef& y) {
    const int64_t n = y.size(2) / args.G;
    forward<T>(ctx.gpu->stream(), {args.x.as<const T, 3>("x"), args.z.as<const T, 3>("z"),
                                   args.weight.ptr<const float>("weight"), y.as<T, 3>("y"), args.eps,
                                   static_cast<int>(args.G), static_cast<int>(n), y.size(0) * y.size(1) * args.G});
}

template <class T>
void backward_typed(Ctx& ctx, const GatedNormArgs& args, const GatedNormGrads& g, void* scratch) {
    const int64_t n = args.x.size(2) / args.G;
    backward<T>(ctx.gpu->stream(),
                {args.x.as<const T, 3>("x"), args.z.as<const T, 3>("z"), g.d_y.as<const T, 3>("d_y"),
                 g.d_x.as<T, 3>("d_x"), g.d_z.as<T, 3>("d_z"), args.weight.ptr<const float>("weight"),
                 static_cast<float*>(scratch), args.eps, static_cast<int>(args.G), static_cast<int>(n),
                 args.x.size(0) * args.x.size(1), 0},
                g.d_weight.ptr<float>("d_weight"));
}

}  // namespace

void gated_norm_forward(Ctx& ctx, const GatedNormArgs& args, const TensorRef& y) {
    if (y.numel() == 0) return;
    if (y.dtype == DType::f32)
        forward_typed<float>(ctx, args, y);
    else
        forward_typed<bf16>(ctx, args, y);
}

int64_t gated_norm_backward_scratch_bytes(const GatedNormArgs& args) {
    const int64_t rows = args.x.size(0) * args.x.size(1), D = args.x.size(2);
    if (rows * D == 0) return 0;
    const int V = static_cast<int>(16 / size_of(args.x.dtype));
    return row_runs(rows, D / args.G, V, args.G).runs * D * int64_t{sizeof(float)};
}

void gated_norm_backward(Ctx& ctx, const GatedNormArgs& args, const GatedNormGrads& grads, void* scratch) {
    if (args.x.numel() == 0) return;
    if (args.x.dtype == DType::f32)
        backward_typed<float>(ctx, args, grads, scratch);
    else
        backward_typed<bf16>(ctx, args, grads, scratch);
}

}  // namespace adder::cuda
