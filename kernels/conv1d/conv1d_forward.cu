// Bytes moved: B L D 2 sizeof(T), plus the K - 1 rows before every run from the second-level cache. About 18 instructions
// an element at K = 4, two thirds of what the issue slots allow in the time that the bytes take.
#include "kernels/common/mma.cuh"
#include "kernels/conv1d/conv1d_cuda.h"
#include "kernels/conv1d/conv1d_rows.cuh"

namespace adder::cuda {

namespace {

constexpr int kLongestRun = 64, kShortestRun = 8;
constexpr int kNominalChannels = 8;  // of a thread; cuts the runs whatever the alignment
constexpr int kRowsAhead = 4;        // loaded before the first of them is used

template <class T>
struct Forward {
    ConvArgs<T> in;
    View<T, 3> y;
    View<float, 3> halo_out;  // null = not wanted
    int64_t run_rows, runs;   // of one sequence
};

// Thread i of the grid owns channels V (i % (D/V)) and up in run i / (D/V) of all sequences' runs: rows in order, SiLU and
// store as they come. The last run of a sequence holds the halo to hand on in its window. Needs D and the strides to be
// multiples of V; no workspace.
template <class T, int kTaps, int V>
__global__ void __launch_bounds__(kConvThreads, kTaps == 4 ? 4 : 3) forward_rows(const Forward<T> a) {
    const ConvArgs<T>& in = a.in;
    const int64_t L = in.x.shape[1], D = in.x.shape[2], groups = D / V;
    const int64_t index = int64_t{blockIdx.x} * kConvThreads + threadIdx.x;
    const int64_t all_runs = index / groups, d = (index - all_runs * groups) * V;
    const int64_t b = all_runs / a.runs, run = all_runs - b * a.runs;
    if (b >= in.x.shape[0]) return;
    const int64_t begin = run * a.run_rows;
    const int n = static_cast<int>(min(a.run_rows, L - begin));

    ConvTaps<kTaps, V> taps;
    taps.load_from(in, d);
    ConvWindow<kTaps, V> window;
    window.fill(in, b, begin, d);

    const int64_t x_stride = in.x.stride[1], y_stride = a.y.stride[1];
    const T* x = in.x.data + b * in.x.stride[0] + begin * x_stride + d;
    T* y = a.y.data + b * a.y.stride[0] + begin * y_stride + d;
    const uint8_t* start = in.start ? in.start.data + b * in.start.stride[0] + begin : nullptr;
    for (int t = 0; t < n; t += kRowsAhead) {
        Packed<T, V> ahead[kRowsAhead];
        bool starts[kRowsAhead];
#pragma unroll
        for (int u = 0; u < kRowsAhead; ++u) {
            if (t + u >= n) continue;
            ahead[u] = load_packed<V>(x + u * x_stride);
            starts[u] = start && start[t + u];
        }
#pragma unroll
        for (int u = 0; u < kRowsAhead; ++u) {
            if (t + u >= n) continue;
            float row[V], out[V];
            unpack<T, V>(ahead[u], row);
            if (starts[u]) window.clear();
            window.pre(taps, row, out);
            if (in.silu) {
#pragma unroll
                for (int i = 0; i < V; ++i) out[i] *= fast_sigmoid(out[i]);
            }
            store<V>(y + u * y_stride, out);
            window.push(row, taps.K);
        }
        x += kRowsAhead * x_stride;
        y += kRowsAhead * y_stride;
    }
    if (!a.halo_out || begin + n < L) return;
#pragma unroll
    for (int k = 0; k < kTaps - 1; ++k) {
        const int r = k - (kTaps - taps.K);
        if (r < 0) continue;
        float* to = a.halo_out.data + b * a.halo_out.stride[0] + r * a.halo_out.stride[1] + d;
#pragma unroll
        for (int i = 0; i < V; ++i) to[i] = window.row[k][i];
    }
}

// One row of each sequence: thread i has channel i % D of sequence i / D and moves its halo up.
// Bytes: B D (2 sizeof(T) + 8 (K - 1)) + 4 D (K + 1).
template <class T>
__global__ void __launch_bounds__(kConvThreads) step_rows(const ConvArgs<T> in, const View<float, 3> halo,
                                                          const View<T, 3> y) {
    const int64_t D = in.x.shape[2], index = int64_t{blockIdx.x} * kConvThreads + threadIdx.x;
    const int64_t b = index / D, d = index - b * D;
    if (b >= in.x.shape[0]) return;
    release_next();
    wait_for_previous();
    const bool starts = in.start && in.start.data[b * in.start.stride[0]];
    const float* weight = in.weight + d * in.K;
    const float x = to_float(in.x.data[b * in.x.stride[0] + d]);
    float* before = halo.data + b * halo.stride[0] + d;
    float sum = in.bias ? in.bias[d] : 0.0f;
    for (int k = 0; k + 1 < in.K; ++k) {
        float* row = before + k * halo.stride[1];
        if (!starts) sum += weight[k] * *row;
        const bool newest = k + 2 == in.K;
        *row = newest ? x : starts ? 0.0f : row[halo.stride[1]];
    }
    sum += weight[in.K - 1] * x;
    y.data[b * y.stride[0] + d] = from_float<T>(in.silu ? sum * fast_sigmoid(sum) : sum);
}

template <class T, int kTaps, int V>
void start(cudaStream_t stream, const Forward<T>& a) {
    const int64_t threads = a.in.x.shape[0] * a.runs * (a.in.x.shape[2] / V);
    launch(stream, blocks(ceil_div(threads, kConvThreads)), kConvThreads, 0, forward_rows<T, kTaps, V>, a);
}

template <class T>
void forward(cudaStream_t stream, const Forward<T>& a) {
    constexpr int kWidest = 16 / sizeof(T);
    const int64_t D = a.in.x.shape[2];
    const int width = std::min(vector_width(a.in.x, D), vector_width(a.y, D));
    if (a.in.K == 4 && width == kWidest && conv_aligned(a.in.weight, 16))
        start<T, 4, kWidest>(stream, a);
    else if (width >= 4)
        start<T, 8, 4>(stream, a);
    else
        start<T, 8, 1>(stream, a);
}

int64_t run_rows(int64_t B, int64_t L, int64_t D) {
    return conv_run_rows(B, L, D, kNominalChannels, kLongestRun, kShortestRun);
}
// A sequence without rows still hands its halo on.
int64_t runs_of(int64_t L, int64_t rows) { return std::max<int64_t>(1, ceil_div(L, rows)); }

template <class T>
void forward_typed(Ctx& ctx, const Conv1dArgs& args, const TensorRef& y, const TensorRef& halo_out) {
    Forward<T> a{conv_args<T>(args), y.as<T, 3>("y"), halo_out.as<float, 3>("halo_out"), 0, 0};
    a.run_rows = run_rows(y.size(0), y.size(1), y.size(2));
    a.runs = runs_of(y.size(1), a.run_rows);
    forward(ctx.gpu->stream(), a);
}

template <class T>
void step_typed(Ctx& ctx, const Conv1dArgs& args, const TensorRef& halo, const TensorRef& y) {
    launch_early(ctx.gpu->stream(), blocks(ceil_div(y.numel(), kConvThreads)), kConvThreads, 0, step_rows<T>,
                 conv_args<T>(args), halo.as<float, 3>("halo"), y.as<T, 3>("y"));
}

}  // namespace

int64_t conv1d_forward_scratch_bytes(int64_t B, int64_t L, int64_t D, int64_t K) {
    return runs_of(L, run_rows(B, L, D)) == 1 ? 0 : B * (K - 1) * D * int64_t{sizeof(float)};
}

void conv1d_forward(Ctx& ctx, const Conv1dArgs& args, const TensorRef& y, const TensorRef& halo_out, void* scratch) {
    const int64_t B = y.size(0), L = y.size(1), D = y.size(2);
    if (B * D == 0) return;
    // The first run of a sequence may still read the halo when the last one writes it, unless they are the same.
    const bool in_place = halo_out && args.halo && halo_out.data == args.halo.data;
    const bool aside = in_place && runs_of(L, run_rows(B, L, D)) > 1;
    const TensorRef to = aside ? TensorRef(scratch, DType::f32, halo_out.shape, Device::cuda) : halo_out;
    if (y.dtype == DType::f32)
        forward_typed<float>(ctx, args, y, to);
    else
        forward_typed<bf16>(ctx, args, y, to);
    if (aside) copy(ctx, to, halo_out);
}

void conv1d_step(Ctx& ctx, const Conv1dArgs& args, const TensorRef& halo, const TensorRef& y) {
    if (y.numel() == 0) return;
    if (y.dtype == DType::f32)
        step_typed<float>(ctx, args, halo, y);
    else
        step_typed<bf16>(ctx, args, halo, y);
}

}  // namespace adder::cuda
