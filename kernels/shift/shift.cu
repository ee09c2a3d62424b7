// Memory-bound: forward and backward read and write every element once, 2 B L M elements of storage, beside one row of
// state for each b.
#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"
#include "kernels/shift/shift_cuda.h"

namespace adder::cuda {

namespace {

constexpr int kThreads = 256;

template <class T>
struct Forward {
    View<const T, 3> x;
    View<const uint8_t, 2> start;
    View<const float, 3> before;
    View<T, 3> y;
    View<float, 3> after;
    int64_t rows, L, packs;
};

// Thread i of the grid has pack i % packs of V neighbouring columns of row i / packs, rows (b,t) counted through; that of
// t = 0 also moves the last row into the state, so that the state may be updated in place. Threads past the last pack idle.
template <class T, int V>
__global__ void __launch_bounds__(kThreads) forward_kernel(const Forward<T> a) {
    const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x, row = i / a.packs, m = i % a.packs * V;
    release_next();
    wait_for_previous();
    if (row >= a.rows) return;
    const int64_t b = row / a.L, t = row % a.L;
    float values[V] = {};
    if (!(a.start && a.start(b, t))) {
        if (t > 0)
            load<V>(&a.x(b, t - 1, m), values);
        else if (a.before)
            load<V>(&a.before(b, 0, m), values);
    }
    if (a.y) store<V>(&a.y(b, t, m), values);
    if (t > 0 || !a.after) return;
    load<V>(&a.x(b, a.L - 1, m), values);
    store<V>(&a.after(b, 0, m), values);
}

template <class T>
struct Backward {
    View<const uint8_t, 2> start;
    View<const T, 3> d_y;
    View<T, 3> d_x;
    View<float, 3> d_state;
    int64_t rows, L, packs;
};

// As forward: row t of d_y goes to row t - 1 of d_x, that of t = 0 into the state, whose content goes to the last row.
template <class T, int V>
__global__ void __launch_bounds__(kThreads) backward_kernel(const Backward<T> a) {
    const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x, row = i / a.packs, m = i % a.packs * V;
    if (row >= a.rows) return;
    const int64_t b = row / a.L, t = row % a.L;
    float values[V] = {};
    if (!(a.start && a.start(b, t))) load<V>(&a.d_y(b, t, m), values);
    if (t > 0) return store<V>(&a.d_x(b, t - 1, m), values);
    float last[V] = {};
    if (a.d_state) load<V>(&a.d_state(b, 0, m), last);
    store<V>(&a.d_x(b, a.L - 1, m), last);
    if (a.d_state) store<V>(&a.d_state(b, 0, m), values);
}

// Thread i has group i % n of row i / n; threads past the last group idle. 2 B n bytes are asked for, and the whole of
// `start` is read where a group is shorter than a sector of memory, 32 bytes.
__global__ void __launch_bounds__(kThreads)
    group_kernel(View<const uint8_t, 2> start, int64_t every, uint8_t* groups, int64_t n, int64_t all) {
    const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i < all) groups[i] = start(i / n, i % n * every);
}

// Whether every row of these can be moved in packs of V.
template <int V, class T>
bool packed(const View<T, 3>& v, int64_t M) {
    return !v || vector_width(v, M) >= V;
}

// Elements of 16 bytes of the storage type; those of the state are then of 16 or 32 bytes.
template <class T>
constexpr int kPack = 16 / sizeof(T);

template <class T>
void start_forward(cudaStream_t stream, const ShiftArgs& args, const TensorRef& y, const TensorRef& after) {
    const TensorRef& rows = args.x ? args.x : y;
    Forward<T> a{args.x.as<const T, 3>("x"),      args.start.as<const uint8_t, 2>("start"),
                 args.before.as<const float, 3>("before"), y.as<T, 3>("y"),
                 after.as<float, 3>("after"),     rows.size(0) * rows.size(1),
                 rows.size(1),                    rows.size(2)};
    const int64_t M = rows.size(2);
    constexpr int V = kPack<T>;
    const bool wide = packed<V>(a.x, M) && packed<V>(a.y, M) && packed<4>(a.before, M) && packed<4>(a.after, M);
    if (wide) a.packs = M / V;
    const unsigned grid = blocks(ceil_div(a.rows * a.packs, kThreads));
    launch_early(stream, grid, kThreads, 0, wide ? forward_kernel<T, V> : forward_kernel<T, 1>, a);
}

template <class T>
void start_backward(cudaStream_t stream, const TensorRef& start, const TensorRef& d_y, const TensorRef& d_x,
                    const TensorRef& d_state) {
    const int64_t M = d_y.size(2);
    Backward<T> a{start.as<const uint8_t, 2>("start"), d_y.as<const T, 3>("d_y"), d_x.as<T, 3>("d_x"),
                  d_state.as<float, 3>("d_state"),     d_y.size(0) * d_y.size(1), d_y.size(1),
                  M};
    constexpr int V = kPack<T>;
    const bool wide = packed<V>(a.d_y, M) && packed<V>(a.d_x, M) && packed<4>(a.d_state, M);
    if (wide) a.packs = M / V;
    const unsigned grid = blocks(ceil_div(a.rows * a.packs, kThreads));
    launch(stream, grid, kThreads, 0, wide ? backward_kernel<T, V> : backward_kernel<T, 1>, a);
}

}  // namespace

void shift_forward(Ctx& ctx, const ShiftArgs& args, const TensorRef& y, const TensorRef& after) {
    const TensorRef& rows = args.x ? args.x : y;
    if (rows.numel() == 0) return;
    if (rows.dtype == DType::f32) return start_forward<float>(ctx.gpu->stream(), args, y, after);
    start_forward<bf16>(ctx.gpu->stream(), args, y, after);
}

void shift_backward(Ctx& ctx, const TensorRef& start, const TensorRef& d_y, const TensorRef& d_x, const TensorRef& d_state) {
    if (d_y.numel() == 0) return;
    if (d_y.dtype == DType::f32) return start_backward<float>(ctx.gpu->stream(), start, d_y, d_x, d_state);
    start_backward<bf16>(ctx.gpu->stream(), start, d_y, d_x, d_state);
}

void group_starts(Ctx& ctx, const TensorRef& start, int64_t every, const TensorRef& groups) {
    const int64_t all = groups.numel();
    launch(ctx.gpu->stream(), blocks(ceil_div(all, kThreads)), kThreads, 0, group_kernel, start.as<const uint8_t, 2>("start"),
           every, groups.ptr<uint8_t>("groups"), groups.size(1), all);
}

}  // namespace adder::cuda
