// Bytes moved: B L D 3 sizeof(T), plus 2 (K - 1) rows around every run from the second-level cache, plus 4 D (K + 1) twice
// for every run's partial sums. About 38 instructions an element at K = 4.
#include "kernels/common/partial_sums.cuh"
#include "kernels/conv1d/conv1d_cuda.h"
#include "kernels/conv1d/conv1d_rows.cuh"

namespace adder::cuda {

namespace {

constexpr int kLongestRun = 128, kShortestRun = 16;
constexpr int kNominalChannels = 4;  // of a thread; cuts the runs whatever the alignment

// How the work is cut: a block has `across` groups of V channels by kConvThreads / across runs that follow each other.
struct Cut {
    int across, tiles;                 // tiles: blocks side by side that cover the channels
    int64_t run_rows, blocks_in_time;  // blocks_in_time: of one sequence
};

Cut cut_of(int64_t B, int64_t L, int64_t D, int V) {
    Cut c{1, 0, conv_run_rows(B, L, D, kNominalChannels, kLongestRun, kShortestRun), 0};
    const int64_t groups = ceil_div(D, V);
    while (c.across < kWarp && c.across < groups) c.across *= 2;
    c.tiles = static_cast<int>(ceil_div(groups, c.across));
    c.blocks_in_time = ceil_div(L, c.run_rows * (kConvThreads / c.across));
    return c;
}

template <class T>
struct Backward {
    ConvArgs<T> in;
    View<const T, 3> d_y;
    View<T, 3> d_x;
    View<const float, 3> d_halo_out;  // null = zero
    float* d_halo;                    // (B,K-1,D): the gradient of the halo; null = not wanted
    float* partial;                   // (blocks in time of all sequences, sums): gradients of weight, then of bias
    int64_t sums;                     // D K, or D K + D with a bias
    Cut cut;
};

// The gradients of the kTaps - 1 rows before the current one, which later rows still add to; the newest last.
template <int kTaps, int V>
struct Pending {
    float row[kTaps - 1][V];

    __device__ __forceinline__ void push(const float (&newest)[V]) {
#pragma unroll
        for (int k = 0; k + 1 < kTaps - 1; ++k)
#pragma unroll
            for (int i = 0; i < V; ++i) row[k][i] = row[k + 1][i];
#pragma unroll
        for (int i = 0; i < V; ++i) row[kTaps - 2][i] = newest[i];
    }
};

// A thread's place: channels d and up of `own` rows of sequence b from row `begin` on. Rows behind those as far as taps
// reach, up to begin + walked, add to the gradients of its rows and to nothing else.
struct Place {
    int64_t b, d, begin;
    int own, walked;  // own <= 0: the thread has no rows
};

template <class T, int V>
__device__ __forceinline__ Place place_of(const Backward<T>& a) {
    const int64_t L = a.in.x.shape[1], D = a.in.x.shape[2];
    const int64_t in_time = int64_t{blockIdx.x} / a.cut.tiles;
    const int tile = static_cast<int>(blockIdx.x - in_time * a.cut.tiles);
    Place p;
    p.b = in_time / a.cut.blocks_in_time;
    const int64_t block = in_time - p.b * a.cut.blocks_in_time;
    p.d = (int64_t{tile} * a.cut.across + threadIdx.x) * V;
    p.begin = (block * blockDim.y + threadIdx.y) * a.cut.run_rows;
    p.own = p.d < D ? static_cast<int>(min(a.cut.run_rows, L - p.begin)) : 0;
    p.walked = static_cast<int>(min(int64_t{p.own} + a.in.K - 1, L - p.begin));
    return p;
}

// Stores the finished gradient of row t < 0 of a run's rows: of the halo's, if this is the first run.
template <class T, int V>
__device__ __forceinline__ void emit_before(const Backward<T>& a, const Place& p, int t, const float (&gradient)[V]) {
    const int r = t + a.in.K - 1;
    if (p.begin != 0 || !a.d_halo || r < 0) return;
    float* to = a.d_halo + (p.b * (a.in.K - 1) + r) * a.in.x.shape[2] + p.d;
#pragma unroll
    for (int i = 0; i < V; ++i) to[i] = gradient[i];
}

// One thread's rows. Walks forward: the gradient g of a row's pre-activation needs the rows before it; it
// adds to the gradients of those rows, each of which is finished K - 1 rows later. Longer than other
// functions: its parts share registers that stay for the whole walk.
template <class T, int kTaps, int V>
__device__ __forceinline__ void walk(const Backward<T>& a, const Place& p, float (&d_w)[kTaps][V], float (&d_bias)[V]) {
    constexpr int kAhead = 2;  // rows loaded before the first of them is used; registers allow no more
    const ConvArgs<T>& in = a.in;
    ConvTaps<kTaps, V> taps;
    taps.load_from(in, p.d);
    ConvWindow<kTaps, V> window;
    window.fill(in, p.b, p.begin, p.d);
    Pending<kTaps, V> pending = {};
    const T* x = in.x.data + p.b * in.x.stride[0] + p.begin * in.x.stride[1] + p.d;
    const T* d_y = a.d_y.data + p.b * a.d_y.stride[0] + p.begin * a.d_y.stride[1] + p.d;
    // The row that is finished at row t: kTaps - 1 before it.
    T* d_x = a.d_x.data + p.b * a.d_x.stride[0] + (p.begin - (kTaps - 1)) * a.d_x.stride[1] + p.d;
    const uint8_t* start = in.start ? in.start.data + p.b * in.start.stride[0] + p.begin : nullptr;
    const int n = p.walked, own = p.own;
    for (int t0 = 0; t0 < n; t0 += kAhead) {
        Packed<T, V> x_ahead[kAhead], d_y_ahead[kAhead];
        bool starts[kAhead];
#pragma unroll
        for (int u = 0; u < kAhead; ++u) {
            if (t0 + u >= n) continue;
            x_ahead[u] = load_packed<V>(x + u * in.x.stride[1]);
            d_y_ahead[u] = load_packed<V>(d_y + u * a.d_y.stride[1]);
            starts[u] = start && start[t0 + u];
        }
        x += kAhead * in.x.stride[1];
        d_y += kAhead * a.d_y.stride[1];
#pragma unroll
        for (int u = 0; u < kAhead; ++u) {
            const int t = t0 + u;
            if (t >= n) continue;
            float row[V], g[V], d_row[V];
            unpack<T, V>(x_ahead[u], row);
            unpack<T, V>(d_y_ahead[u], g);
            if (starts[u]) window.clear();
            if (in.silu) {
                float pre[V];
                window.pre(taps, row, pre);
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    const float s = fast_sigmoid(pre[i]);
                    g[i] *= s * (1.0f + pre[i] * (1.0f - s));
                }
            }
#pragma unroll
            for (int k = 0; k < kTaps - 1; ++k) {
                const bool sees = kTaps - 1 - k <= window.seen;
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    if (sees) pending.row[k][i] += taps.w[k][i] * g[i];
                    if (sees && t < own) d_w[k][i] += g[i] * window.row[k][i];
                }
            }
#pragma unroll
            for (int i = 0; i < V; ++i) {
                d_row[i] = taps.w[kTaps - 1][i] * g[i];
                if (t < own) d_w[kTaps - 1][i] += g[i] * row[i], d_bias[i] += g[i];
            }
            if (t >= kTaps - 1)
                store<V>(d_x, pending.row[0]);
            else
                emit_before<T, V>(a, p, t - (kTaps - 1), pending.row[0]);
            d_x += a.d_x.stride[1];
            pending.push(d_row);
            window.push(row, taps.K);
        }
    }
    const bool hands_on = a.d_halo_out && p.begin + n == in.x.shape[1];
#pragma unroll
    for (int k = 0; k < kTaps - 1; ++k, d_x += a.d_x.stride[1]) {
        const int back = kTaps - 1 - k, t = n - back;
        if (hands_on && back <= window.seen) {
            const float* from = a.d_halo_out.data + p.b * a.d_halo_out.stride[0] +
                                (taps.K - 1 - back) * a.d_halo_out.stride[1] + p.d;
#pragma unroll
            for (int i = 0; i < V; ++i) pending.row[k][i] += from[i];
        }
        if (t < 0)
            emit_before<T, V>(a, p, t, pending.row[k]);
        else if (t < own)
            store<V>(d_x, pending.row[k]);
    }
}

// Thread (x, y) of a block owns channels V (x + across * tile) and up in the block's y-th run. The runs' gradients of
// weight and bias are added in order of y in shared memory; add_partial_sums adds those of the blocks. Needs D and the
// strides to be multiples of V. Workspace: see Backward; every block writes its part of it.
template <class T, int kTaps, int V>
__global__ void __launch_bounds__(kConvThreads, kTaps == 4 ? 4 : 3) backward_rows(const Backward<T> a) {
    constexpr int kSums = (kTaps + 1) * V;
    __shared__ float room[kSums][kConvThreads];
    const Place p = place_of<T, V>(a);
    {
        float d_w[kTaps][V] = {}, d_bias[V] = {};
        if (p.own > 0) walk<T, kTaps, V>(a, p, d_w, d_bias);
        const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
#pragma unroll
        for (int i = 0; i < V; ++i) {
#pragma unroll
            for (int k = 0; k < kTaps; ++k) room[k * V + i][thread] = d_w[k][i];
            room[kTaps * V + i][thread] = d_bias[i];
        }
    }
    __syncthreads();
    const int64_t D = a.in.x.shape[2];
    const int K = a.in.K, across = a.cut.across;
    const int64_t in_time = int64_t{blockIdx.x} / a.cut.tiles;
    const int64_t first = (blockIdx.x - in_time * a.cut.tiles) * across * V;
    float* partial = a.partial + in_time * a.sums;
    for (int j = static_cast<int>(threadIdx.y); j < kSums; j += static_cast<int>(blockDim.y)) {
        const int k = j / V - (kTaps - K);  // K is the bias
        const int64_t d = first + int64_t{threadIdx.x} * V + j % V;
        if (k < 0 || d >= D || (k == K && !a.in.bias)) continue;
        float sum = 0;
        for (int y = 0; y < static_cast<int>(blockDim.y); ++y) sum += room[j][y * across + threadIdx.x];
        partial[k < K ? d * K + k : D * K + d] = sum;
    }
}

template <class T, int kTaps, int V>
void start(cudaStream_t stream, Backward<T> a, float* d_weight, float* d_bias) {
    const int64_t B = a.in.x.shape[0], L = a.in.x.shape[1], D = a.in.x.shape[2], K = a.in.K;
    a.cut = cut_of(B, L, D, V);
    a.sums = D * (d_bias ? K + 1 : K);
    const int64_t in_time = B * a.cut.blocks_in_time;
    const auto across = static_cast<unsigned>(a.cut.across);
    launch(stream, blocks(in_time * a.cut.tiles), dim3(across, kConvThreads / across), 0, backward_rows<T, kTaps, V>, a);
    add_partial_sums(stream, {a.partial, in_time, a.sums, d_weight, D * K, d_bias});
}

template <class T>
void backward(cudaStream_t stream, const Backward<T>& a, float* d_weight, float* d_bias) {
    const int64_t D = a.in.x.shape[2];
    const int width = std::min({vector_width(a.in.x, D), vector_width(a.d_y, D), vector_width(a.d_x, D)});
    if (a.in.K == 4 && width >= 4 && conv_aligned(a.in.weight, 16))
        start<T, 4, 4>(stream, a, d_weight, d_bias);
    else if (width >= 2)
        start<T, 8, 2>(stream, a, d_weight, d_bias);
    else
        start<T, 8, 1>(stream, a, d_weight, d_bias);
}

template <class T>
void backward_typed(Ctx& ctx, const Conv1dArgs& args, const Conv1dGrads& g, float* d_halo, float* partial) {
    const Backward<T> a{conv_args<T>(args),   g.d_y.as<const T, 3>("d_y"), g.d_x.as<T, 3>("d_x"),
                        g.d_halo.as<const float, 3>("d_halo"), d_halo,     partial, 0, {}};
    backward(ctx.gpu->stream(), a, g.d_weight.ptr<float>("d_weight"),
             g.d_bias ? g.d_bias.ptr<float>("d_bias") : nullptr);
}

int64_t halo_elements(int64_t B, int64_t D, int64_t K) { return ceil_div(B * (K - 1) * D, 64) * 64; }

}  // namespace

int64_t conv1d_backward_scratch_bytes(int64_t B, int64_t L, int64_t D, int64_t K) {
    if (B * L * D == 0) return 0;
    int64_t blocks_in_time = 0;
    for (const int V : {1, 2, 4}) blocks_in_time = std::max(blocks_in_time, cut_of(B, L, D, V).blocks_in_time);
    return (halo_elements(B, D, K) + B * blocks_in_time * D * (K + 1)) * int64_t{sizeof(float)};
}

void conv1d_backward(Ctx& ctx, const Conv1dArgs& args, const Conv1dGrads& grads, void* scratch) {
    const int64_t B = args.x.size(0), L = args.x.size(1), D = args.x.size(2), K = args.weight.size(1);
    if (B * L * D == 0) return;
    // The last run of a sequence reads the gradient that the first one replaces.
    float* d_halo = grads.d_halo ? static_cast<float*>(scratch) : nullptr;
    float* partial = static_cast<float*>(scratch) + halo_elements(B, D, K);
    if (args.x.dtype == DType::f32)
        backward_typed<float>(ctx, args, grads, d_halo, partial);
    else
        backward_typed<bf16>(ctx, args, grads, d_halo, partial);
    if (d_halo) copy(ctx, TensorRef(d_halo, DType::f32, grads.d_halo.shape, Device::cuda), grads.d_halo);
}

}  // namespace adder::cuda
