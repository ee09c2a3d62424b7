// Forward writes B L M sizeof(T) bytes; the table comes from the caches. Backward reads B L M sizeof(d_y) bytes, and ids
// (2 B L) once for every slice of 32 or 128 columns.
#include <algorithm>

#include "kernels/common/device.cuh"
#include "kernels/common/fault.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"
#include "kernels/common/multiprocessors.h"
#include "kernels/common/partial_sums.cuh"
#include "kernels/embedding/embedding_cuda.h"

namespace adder::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kAhead = 4;  // rows of a thread, all loaded before the first is stored

template <class T>
struct Forward {
    View<const uint16_t, 2> ids;
    const T* weight;  // (V,M)
    int64_t weight_stride;
    View<T, 3> y;
    int64_t vocabulary;
    FaultWord* fault;
};

// Thread i of the grid has the pack of V columns i % (M/V) of kAhead rows, (b, t) counted through, that are as far apart
// as the packs of a quarter of the rows. Needs M and the strides to be multiples of V.
template <class T, int V>
__global__ void __launch_bounds__(kThreads) gather_rows(const Forward<T> a) {
    const int64_t L = a.y.shape[1], rows = a.y.shape[0] * L, packs = a.y.shape[2] / V;
    const int64_t apart = (rows + kAhead - 1) / kAhead;
    const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    const int64_t row0 = index / packs, m = (index - row0 * packs) * V;
    if (row0 >= apart) return;
    wait_for_previous();
    release_next();
    Packed<T, V> pack[kAhead] = {};
    T* to[kAhead] = {};
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
        const int64_t row = row0 + u * apart;
        if (row >= rows) continue;
        const int64_t b = row / L, t = row - b * L;
        const int id = a.ids.data[b * a.ids.stride[0] + t];
        to[u] = a.y.data + b * a.y.stride[0] + t * a.y.stride[1] + m;
        if (id < a.vocabulary)
            pack[u] = load_packed<V>(a.weight + id * a.weight_stride + m);
        else if (m == 0)
            report(a.fault, Fault::token_id, id, b, t);
    }
#pragma unroll
    for (int u = 0; u < kAhead; ++u)
        if (to[u]) *reinterpret_cast<Packed<T, V>*>(to[u]) = pack[u];
}

// How backward is cut: a warp owns a slice of columns, 32 lanes of C, a range of ids and a run of rows.
struct Cut {
    int C;
    int64_t range, ranges, slices, run_rows, runs;
    int64_t warps() const { return runs * ranges * slices; }
};

// 64 ids of 128 columns and 256 ids of 32 columns take 32 KiB: seven warps of a multiprocessor have theirs at a time.
constexpr int64_t kTableFloats = 8192;

Cut cut_of(int64_t rows, int64_t V, int64_t M, int C) {
    Cut c;
    c.C = C;
    c.range = std::min(V, kTableFloats / (kWarp * C));
    c.ranges = ceil_div(V, c.range);
    c.slices = ceil_div(M, kWarp * C);
    // Runs enough for eight warps a multiprocessor, but a run's table should be small beside the rows it sums.
    const int64_t wanted = std::max<int64_t>(1, 8 * kMultiprocessors / (c.ranges * c.slices));
    const int64_t least_rows = std::max<int64_t>(64, 4 * V);
    c.run_rows = std::max(least_rows, ceil_div(ceil_div(rows, wanted), kWarp) * kWarp);
    c.runs = std::max<int64_t>(1, ceil_div(rows, c.run_rows));
    return c;
}

template <class T>
struct Backward {
    View<const uint16_t, 2> ids;
    View<const T, 3> d_y;
    float* partial;  // (runs, V, M)
    int64_t vocabulary;
    Cut cut;
};

// A block is one warp: slice blockIdx.x % slices, then range, then run. Its table of sums lies in shared memory, where a
// lane owns C columns: it adds the rows of its run in order and no two lanes meet. Rows whose id is outside the range are
// passed over, 32 at a time. Needs M and the strides to be multiples of C. Workspace: the runs' tables, which
// add_partial_sums adds.
template <class T, int C>
__global__ void __launch_bounds__(kWarp) scatter_rows(const Backward<T> a) {
    constexpr int kRows = 16;  // loaded before the first of them is added
    float* table = dynamic_shared<float>();
    const int lane = static_cast<int>(threadIdx.x), range = static_cast<int>(a.cut.range);
    const int64_t L = a.d_y.shape[1], M = a.d_y.shape[2], rows = a.d_y.shape[0] * L;
    int64_t rest = blockIdx.x;
    const int64_t slice = rest % a.cut.slices;
    rest /= a.cut.slices;
    const int64_t first_id = rest % a.cut.ranges * a.cut.range, run = rest / a.cut.ranges;
    const int64_t m = (slice * kWarp + lane) * C;
    const bool mine = m < M;
    const int64_t column = mine ? m : 0;
    const float zero[C] = {};
    for (int v = 0; v < range; ++v) store<C>(table + (v * kWarp + lane) * C, zero);
    const int64_t begin = run * a.cut.run_rows, end = min(rows, begin + a.cut.run_rows);
    for (int64_t row = begin; row < end; row += kWarp) {
        const int64_t own = row + lane;
        int v = -1;
        int64_t offset = 0;
        if (own < end) {
            const int64_t b = own / L, t = own - b * L;
            const int64_t id = a.ids.data[b * a.ids.stride[0] + t];
            if (id < a.vocabulary && id >= first_id && id < first_id + range) v = static_cast<int>(id - first_id);
            offset = b * a.d_y.stride[0] + t * a.d_y.stride[1];
        }
        unsigned left = __ballot_sync(kFullWarp, v >= 0);
        while (left != 0) {
            // Every address is good, that of a row too many is the first lane's, and nothing is unpacked yet: a branch or
            // a conversion here would wait for each load by itself.
            Packed<T, C> packed[kRows];
            int to[kRows];
#pragma unroll
            for (int u = 0; u < kRows; ++u) {
                const int from = left == 0 ? 0 : __ffs(static_cast<int>(left)) - 1;
                const int id = __shfl_sync(kFullWarp, v, from);
                to[u] = left == 0 ? -1 : id;
                const int64_t at = __shfl_sync(kFullWarp, offset, from);
                left &= left - 1;
                packed[u] = load_packed<C>(a.d_y.data + at + column);
            }
#pragma unroll
            for (int u = 0; u < kRows; ++u) {
                if (to[u] < 0 || !mine) continue;
                float sum[C], d[C];
                unpack<T, C>(packed[u], d);
                float* place = table + (to[u] * kWarp + lane) * C;
                load<C>(place, sum);
#pragma unroll
                for (int i = 0; i < C; ++i) sum[i] += d[i];
                store<C>(place, sum);
            }
        }
    }
    if (!mine) return;
    for (int v = 0; v < range && first_id + v < a.vocabulary; ++v) {
        float* to = a.partial + (run * a.vocabulary + first_id + v) * M + m;
#pragma unroll
        for (int i = 0; i < C; ++i) to[i] = table[(v * kWarp + lane) * C + i];
    }
}

template <class T>
void forward(Ctx& ctx, const TensorRef& ids, const TensorRef& weight, const TensorRef& y) {
    constexpr int kWidest = 16 / sizeof(T);
    const auto table = weight.as<const T, 2>("weight");
    const Forward<T> a{ids.as<const uint16_t, 2>("ids"), table.data,      table.stride[0],
                       y.as<T, 3>("y"),                  table.shape[0], ctx.gpu->fault_word()};
    const int64_t M = y.size(2), apart = ceil_div(y.size(0) * y.size(1), kAhead);
    const bool wide = vector_width(table, M) == kWidest && vector_width(a.y, M) == kWidest;
    const unsigned grid = blocks(ceil_div(apart * (wide ? M / kWidest : M), kThreads));
    if (wide)
        launch_early(ctx.gpu->stream(), grid, kThreads, 0, gather_rows<T, kWidest>, a);
    else
        launch_early(ctx.gpu->stream(), grid, kThreads, 0, gather_rows<T, 1>, a);
}

template <class T, int C>
void scatter(cudaStream_t stream, Backward<T> a, float* d_weight) {
    const int64_t M = a.d_y.shape[2];
    a.cut = cut_of(a.d_y.shape[0] * a.d_y.shape[1], a.vocabulary, M, C);
    const size_t table_bytes = static_cast<size_t>(a.cut.range) * kWarp * C * sizeof(float);
    launch(stream, blocks(a.cut.warps()), kWarp, table_bytes, scatter_rows<T, C>, a);
    const int64_t n = a.vocabulary * M;
    add_partial_sums(stream, {a.partial, a.cut.runs, n, d_weight, n});
}

template <class T>
void backward(Ctx& ctx, const TensorRef& ids, const TensorRef& d_y, const TensorRef& d_weight, void* scratch) {
    const Backward<T> a{ids.as<const uint16_t, 2>("ids"), d_y.as<const T, 3>("d_y"), static_cast<float*>(scratch),
                        d_weight.size(0), {}};
    float* to = d_weight.ptr<float>("d_weight");
    // Wide slices where the range of ids is short enough for them.
    if (a.vocabulary <= kTableFloats / (kWarp * 4) && vector_width(a.d_y, d_y.size(2)) >= 4)
        scatter<T, 4>(ctx.gpu->stream(), a, to);
    else
        scatter<T, 1>(ctx.gpu->stream(), a, to);
}

}  // namespace

void embedding_forward(Ctx& ctx, const TensorRef& ids, const TensorRef& weight, const TensorRef& y) {
    if (y.numel() == 0) return;
    if (y.dtype == DType::f32)
        forward<float>(ctx, ids, weight, y);
    else
        forward<bf16>(ctx, ids, weight, y);
}

int64_t embedding_backward_scratch_bytes(int64_t B, int64_t L, int64_t V, int64_t M) {
    if (B * L * V * M == 0) return 0;
    const int64_t runs = std::max(cut_of(B * L, V, M, 1).runs, cut_of(B * L, V, M, 4).runs);
    return runs * V * M * int64_t{sizeof(float)};
}

void embedding_backward(Ctx& ctx, const TensorRef& ids, const TensorRef& d_y, const TensorRef& d_weight, void* scratch) {
    if (d_y.numel() == 0 || d_weight.numel() == 0) return;
    if (d_y.dtype == DType::f32)
        backward<float>(ctx, ids, d_y, d_weight, scratch);
    else
        backward<bf16>(ctx, ids, d_y, d_weight, scratch);
}

}  // namespace adder::cuda
