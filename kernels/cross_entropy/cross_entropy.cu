// Bytes moved: B L (4 V + sizeof(D) V + 2 + 4), D the type of d_logits; above 1,024 tokens of vocabulary the logits are
// read twice. Loss and W are added in f64: rows of a thread, threads of a block, blocks, each in order.
#include <algorithm>

#include "kernels/common/device.cuh"
#include "kernels/common/fault.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"
#include "kernels/common/multiprocessors.h"
#include "kernels/cross_entropy/cross_entropy_cuda.h"

namespace adder::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int V4 = 4;  // neighbouring logits of a thread: 16 bytes

// Lanes that share a row, by vocabulary.
constexpr int kFewLanes = 8;
constexpr int64_t kFew = kFewLanes * V4, kMany = 1024;

template <class D>
struct Rows {
    View<const float, 3> logits;
    View<const uint16_t, 2> targets;
    View<const float, 2> weights;  // null = 1
    View<double, 2> nats;          // null = not wanted
    View<D, 3> d_logits;           // null = not wanted; may be logits
    double* partial;               // (runs, 2): loss, W
    FaultWord* fault;
    int64_t ignore_index, t0, rows, per_run;
    int V;
    bool packs;  // logits and d_logits in packs of four
};

// One token with its logits; weight 0: there is nothing to do but to write zeros.
template <class D>
struct Token {
    float weight = 0;
    int target = 0;
    int64_t b = 0, t = 0;

    __device__ __forceinline__ Token(const Rows<D>& a, int64_t row, bool first_lane) {
        if (row >= a.rows) return;
        const int64_t L = a.logits.shape[1];
        b = row / L, t = row - b * L;
        target = a.targets.data[b * a.targets.stride[0] + t];
        weight = target == a.ignore_index ? 0.0f : a.weights ? a.weights.data[b * a.weights.stride[0] + t] : 1.0f;
        if (!(weight >= 0) && first_lane) report(a.fault, Fault::weight, 0, b, a.t0 + t);
        if (weight == 0 || target < a.V) return;
        if (first_lane) report(a.fault, Fault::target, target, b, a.t0 + t);
        weight = 0;
    }
    __device__ __forceinline__ const float* logits(const Rows<D>& a) const {
        return a.logits.data + b * a.logits.stride[0] + t * a.logits.stride[1];
    }
    __device__ __forceinline__ D* d_logits(const Rows<D>& a) const {
        return a.d_logits.data + b * a.d_logits.stride[0] + t * a.d_logits.stride[1];
    }
};

// Four logits from v on, -inf behind the last.
template <class D>
__device__ __forceinline__ void load_logits(const Rows<D>& a, const float* x, int v, float (&to)[V4]) {
    if (a.packs && v < a.V) return load<V4>(x + v, to);
#pragma unroll
    for (int i = 0; i < V4; ++i) to[i] = v + i < a.V ? x[v + i] : -INFINITY;
}
// v < V.
template <class D>
__device__ __forceinline__ void store_gradient(const Rows<D>& a, D* d, int v, const float (&from)[V4]) {
    if (a.packs) return store<V4>(d + v, from);
#pragma unroll
    for (int i = 0; i < V4; ++i)
        if (v + i < a.V) d[v + i] = from_float<D>(from[i]);
}

struct Loss {
    double loss = 0, weight = 0;
};

// Adds what the block's threads have, in their order, to the block's place; one barrier.
__device__ __forceinline__ void store_loss(const Loss& mine, double* to) {
    __shared__ double room[2][kThreads / kWarp];
    const double loss = warp_sum(mine.loss), weight = warp_sum(mine.weight);
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    if (threadIdx.x % kWarp == 0) room[0][warp] = loss, room[1][warp] = weight;
    __syncthreads();
    if (threadIdx.x >= 2) return;
    double sum = 0;
    for (int w = 0; w < kThreads / kWarp; ++w) sum += room[threadIdx.x][w];
    to[threadIdx.x] = sum;
}

// kLanes lanes share a row and hold its exponentials, V <= 4 kLanes kPasses: pass p of lane i has logits 4 (p kLanes + i)
// and up. Group g of a block has the rows g, g + 256 / kLanes, ... of run blockIdx.x. Any alignment. Workspace: partial.
template <class D, int kLanes, int kPasses>
__global__ void __launch_bounds__(kThreads) short_rows(const Rows<D> a) {
    constexpr int kGroups = kThreads / kLanes;
    const int lane = static_cast<int>(threadIdx.x) % kLanes, group = static_cast<int>(threadIdx.x) / kLanes;
    const int64_t begin = int64_t{blockIdx.x} * a.per_run, end = min(a.rows, begin + a.per_run);
    Loss total;
    for (int64_t first = begin; first < end; first += kGroups) {
        const int64_t row = first + group;
        const bool in = row < end;
        const Token<D> token(a, in ? row : a.rows, lane == 0);
        const bool counts = token.weight != 0;
        float e[kPasses][V4], largest = -INFINITY, sum = 0, at_target = 0;
#pragma unroll
        for (int p = 0; p < kPasses; ++p) {
            if (p * kLanes * V4 >= a.V) continue;
#pragma unroll
            for (int i = 0; i < V4; ++i) e[p][i] = 0;
            if (counts) load_logits(a, token.logits(a), (p * kLanes + lane) * V4, e[p]);
#pragma unroll
            for (int i = 0; i < V4; ++i) largest = fmaxf(largest, e[p][i]);
        }
        if (counts) at_target = token.logits(a)[token.target];
        __syncwarp();  // d_logits may be the logits: all lanes have read before one writes
        largest = warp_max<kLanes>(largest);
#pragma unroll
        for (int p = 0; p < kPasses; ++p) {
            if (p * kLanes * V4 >= a.V) continue;
#pragma unroll
            for (int i = 0; i < V4; ++i) {
                e[p][i] = expf(e[p][i] - largest);
                sum += e[p][i];
            }
        }
        sum = warp_sum<kLanes>(sum);
        const double nats = counts ? static_cast<double>(logf(sum) + (largest - at_target)) : 0.0;
        if (lane == 0 && counts) total.loss += static_cast<double>(token.weight) * nats, total.weight += token.weight;
        if (lane == 0 && in && a.nats) a.nats.data[token.b * a.nats.stride[0] + token.t] = nats;
        if (!in || !a.d_logits) continue;
        const float scale = counts ? token.weight / sum : 0.0f;
#pragma unroll
        for (int p = 0; p < kPasses; ++p) {
            const int v = (p * kLanes + lane) * V4;
            if (v >= a.V) continue;
#pragma unroll
            for (int i = 0; i < V4; ++i) {
                e[p][i] = counts ? e[p][i] * scale : 0.0f;
                if (counts && v + i == token.target) e[p][i] -= token.weight;
            }
            store_gradient(a, token.d_logits(a), v, e[p]);
        }
    }
    store_loss(total, a.partial + int64_t{blockIdx.x} * 2);
}

// The largest of a thread's logits so far and the sum of exp(logit - largest).
struct Softmax {
    float largest = -INFINITY, sum = 0;

    __device__ __forceinline__ void add(float other_largest, float other_sum) {
        const float shared = fmaxf(largest, other_largest);
        if (shared == -INFINITY)
            sum += other_sum;  // 0 or NaN
        else
            sum = sum * expf(largest - shared) + other_sum * expf(other_largest - shared);
        largest = shared;
    }
};

// All threads share a row, four logits at a time; a run has one row after the other. The first pass keeps maximum and sum
// together, the second writes the gradient.
template <class D>
__global__ void __launch_bounds__(kThreads) long_rows(const Rows<D> a) {
    __shared__ float largest_of[kThreads / kWarp], room[kThreads / kWarp];
    const int64_t begin = int64_t{blockIdx.x} * a.per_run, end = min(a.rows, begin + a.per_run);
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    Loss total;
    for (int64_t row = begin; row < end; ++row) {
        const Token<D> token(a, row, threadIdx.x == 0);
        const float* x = token.logits(a);
        const bool counts = token.weight != 0;
        Softmax mine;
        const float at_target = counts ? x[token.target] : 0.0f;
        for (int v = static_cast<int>(threadIdx.x) * V4; counts && v < a.V; v += kThreads * V4) {
            float e[V4];
            load_logits(a, x, v, e);
            const float largest = fmaxf(fmaxf(e[0], e[1]), fmaxf(e[2], e[3]));
            const float shift = largest == -INFINITY ? 0 : largest;
            float sum = 0;
#pragma unroll
            for (int i = 0; i < V4; ++i) sum += expf(e[i] - shift);
            mine.add(largest, sum);
        }
        const float of_warp = warp_max(mine.largest);
        if (threadIdx.x % kWarp == 0) largest_of[warp] = of_warp;
        __syncthreads();
        float largest = largest_of[0];
        for (int w = 1; w < kThreads / kWarp; ++w) largest = fmaxf(largest, largest_of[w]);
        const float sum = block_sum<kThreads>(mine.sum * expf(mine.largest - largest), room);
        const double nats = counts ? static_cast<double>(logf(sum) + (largest - at_target)) : 0.0;
        if (threadIdx.x == 0) {
            if (counts) total.loss += static_cast<double>(token.weight) * nats, total.weight += token.weight;
            if (a.nats) a.nats.data[token.b * a.nats.stride[0] + token.t] = nats;
        }
        if (!a.d_logits) continue;
        const float scale = counts ? token.weight / sum : 0.0f;
        for (int v = static_cast<int>(threadIdx.x) * V4; v < a.V; v += kThreads * V4) {
            float d[V4] = {};
            if (counts) load_logits(a, x, v, d);
#pragma unroll
            for (int i = 0; i < V4; ++i) {
                d[i] = counts ? expf(d[i] - largest) * scale : 0.0f;
                if (counts && v + i == token.target) d[i] -= token.weight;
            }
            store_gradient(a, token.d_logits(a), v, d);
        }
    }
    store_loss(total, a.partial + int64_t{blockIdx.x} * 2);
}

// One block: adds the runs' sums, thread i those of runs i, i + 256, ..., then the threads' in order.
__global__ void __launch_bounds__(kThreads) add_losses(const double* partial, int64_t runs, double* sums, bool add) {
    __shared__ double total[2];
    Loss mine;
    wait_for_previous();
    for (int64_t i = threadIdx.x; i < runs; i += kThreads) mine.loss += partial[2 * i], mine.weight += partial[2 * i + 1];
    store_loss(mine, total);
    __syncthreads();
    if (threadIdx.x < 2) sums[threadIdx.x] = add ? sums[threadIdx.x] + total[threadIdx.x] : total[threadIdx.x];
}

struct Cut {
    int64_t per_run, runs;
};

// Sixteen blocks a multiprocessor at most; whole rounds of the groups of a block.
Cut cut_of(int64_t rows, int64_t V) {
    const int64_t groups = V <= kFew ? kThreads / kFewLanes : V <= kMany ? kThreads / kWarp : 1;
    const int64_t rounds = std::max<int64_t>(1, ceil_div(rows, groups * 16 * kMultiprocessors));
    const int64_t per_run = rounds * groups;
    return {per_run, ceil_div(rows, per_run)};
}

template <class D>
void run(Ctx& ctx, const CrossEntropyArgs& args, const CrossEntropyOut& out, double* partial) {
    Rows<D> a{};
    a.logits = args.logits.as<const float, 3>("logits");
    a.targets = args.targets.as<const uint16_t, 2>("targets");
    a.weights = args.weights.as<const float, 2>("weights");
    a.nats = out.nats.as<double, 2>("nats");
    a.d_logits = out.d_logits.as<D, 3>("d_logits");
    a.partial = partial;
    a.fault = ctx.gpu->fault_word();
    a.ignore_index = args.ignore_index;
    a.t0 = args.t0;
    a.rows = args.logits.size(0) * args.logits.size(1);
    const int64_t V = args.logits.size(2);
    a.V = static_cast<int>(V);
    a.packs = vector_width(a.logits, V) >= V4 && (!a.d_logits || vector_width(a.d_logits, V) >= V4);
    const Cut cut = cut_of(a.rows, V);
    a.per_run = cut.per_run;
    cudaStream_t stream = ctx.gpu->stream();
    const unsigned grid = blocks(cut.runs);
    if (V <= kFew)
        launch(stream, grid, kThreads, 0, short_rows<D, kFewLanes, 1>, a);
    else if (V <= kMany)
        launch(stream, grid, kThreads, 0, short_rows<D, kWarp, kMany / (kWarp * V4)>, a);
    else
        launch(stream, grid, kThreads, 0, long_rows<D>, a);
    launch_early(stream, 1, kThreads, 0, add_losses, partial, cut.runs, out.sums.ptr<double>("sums"), out.add_sums);
}

}  // namespace

int64_t cross_entropy_scratch_bytes(int64_t B, int64_t L, int64_t V) {
    return std::max<int64_t>(1, cut_of(B * L, V).runs) * 2 * int64_t{sizeof(double)};
}

void cross_entropy(Ctx& ctx, const CrossEntropyArgs& args, const CrossEntropyOut& out, void* scratch) {
    if (out.d_logits.dtype == DType::bf16)
        run<bf16>(ctx, args, out, static_cast<double*>(scratch));
    else
        run<float>(ctx, args, out, static_cast<double*>(scratch));
}

}  // namespace adder::cuda
