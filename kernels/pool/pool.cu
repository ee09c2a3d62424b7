// The steps of a row are cut into chunks of 256, by shape alone. In the order of the stream:
//   last_starts      where the last member of a chunk begins
//   chunk_lengths    length of the open member before every chunk; one thread a row
//   summaries        forward: sum or maximum of what a chunk hands on; backward: of what it gives to the chunks before
//   carries          the same before, or after, every chunk, in order of time; one thread a column
//   results          z, or d_y, of every step
// Sums are f64 in one order. Bytes: y twice and z once; backward d_z twice, d_y once, for the maximum y and z
// twice too. Longer than other files: all kernels of the op, forward and backward, over the same chunks.
#include <type_traits>

#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/pool/pool_cuda.h"

namespace adder::cuda {

namespace {

constexpr int kThreads = 128, kSteps = 256, kWords = kSteps / kWarp;

// What has no storage type.
struct Rows {
    PoolKind kind;
    int64_t B, L, M;
    View<const uint8_t, 2> start;
    View<const float, 2> state;
    int64_t chunks, slices;  // of 256 steps, of 128 columns
    double* lengths;         // (B,chunks+1): n before each chunk, then at the end
    double* carry;           // (B,chunks,M)
    int* last_start;         // (B,chunks): step in the chunk, -1 = none
    uint8_t* closed;         // (B,chunks,M), backward: whether a position of the chunk takes what comes from behind it
    View<float, 3> z;
    View<float, 2> state_out;
    View<const float, 3> z_given, d_z;
    View<float, 2> d_state;
};
template <class T>
struct Problem : Rows {
    View<const T, 3> y;
    View<T, 3> d_y;
};

// A kernel for all kinds: kind is the same everywhere, so the branch is free. body(a constant).
template <class Body>
__device__ __forceinline__ void by_kind(PoolKind kind, const Body& body) {
    switch (kind) {
        case PoolKind::mean: return body(std::integral_constant<PoolKind, PoolKind::mean>{});
        case PoolKind::max: return body(std::integral_constant<PoolKind, PoolKind::max>{});
        case PoolKind::last: return body(std::integral_constant<PoolKind, PoolKind::last>{});
    }
}

__device__ __forceinline__ bool exceeds(float y, float top) { return !(y <= top) && top == top; }

// What a block works on: chunk c of row b, columns from m on, counted through with the columns first.
struct Place {
    int64_t b, c, m, t0;
    int n;  // steps
};

__device__ __forceinline__ Place place_of(const Rows& p) {
    Place at;
    int64_t rest = blockIdx.x;
    at.m = rest % p.slices * kThreads + threadIdx.x;
    rest /= p.slices;
    at.c = rest % p.chunks;
    at.b = rest / p.chunks;
    at.t0 = at.c * kSteps;
    at.n = static_cast<int>(min(int64_t{kSteps}, p.L - at.t0));
    return at;
}

// The starts of a chunk as bits, in shared memory. A row whose state is empty begins at step 0.
__device__ __forceinline__ void read_starts(const Rows& p, const Place& at, unsigned* words) {
    const bool begins = at.c == 0 && !(p.lengths[at.b * (p.chunks + 1)] > 0);
    for (int t = threadIdx.x; t < kSteps; t += kThreads) {
        const bool flag = t < at.n && p.start.data && p.start.data[at.b * p.start.stride[0] + at.t0 + t] != 0;
        const unsigned word = __ballot_sync(kFullWarp, flag || (t == 0 && begins));
        if (t % kWarp == 0) words[t / kWarp] = word;
    }
    __syncthreads();
}

__device__ __forceinline__ bool starts_at(const unsigned* words, int t) { return words[t / kWarp] >> (t % kWarp) & 1; }

// One over the length of the member at every step of the chunk, in shared memory.
__device__ __forceinline__ void read_parts(const Rows& p, const Place& at, const unsigned* words, double* parts) {
    const double before = p.lengths[at.b * (p.chunks + 1) + at.c];
    for (int t = threadIdx.x; t < at.n; t += kThreads) {
        int word = t / kWarp;
        unsigned bits = words[word] & (0xffffffffu >> (kWarp - 1 - t % kWarp));
        while (bits == 0 && word > 0) bits = words[--word];
        const double length = bits ? t - (word * kWarp + kWarp - 1 - __clz(static_cast<int>(bits))) + 1 : before + t + 1;
        parts[t] = 1 / length;
    }
    __syncthreads();
}

// A warp has chunk blockIdx.x of all rows' chunks.
__global__ void __launch_bounds__(kWarp) last_starts(Rows p) {
    const int64_t b = blockIdx.x / p.chunks, c = blockIdx.x % p.chunks, t0 = c * kSteps, L = p.L;
    int last = -1;
    for (int i = 0; i < kWords && p.start.data; ++i) {
        const int64_t t = t0 + i * kWarp + threadIdx.x;
        const unsigned word = __ballot_sync(kFullWarp, t < L && p.start.data[b * p.start.stride[0] + t] != 0);
        if (word) last = i * kWarp + kWarp - 1 - __clz(static_cast<int>(word));
    }
    if (threadIdx.x == 0) p.last_start[blockIdx.x] = last;
}

// A thread a row, which alone reads and writes the length of the state.
__global__ void __launch_bounds__(kWarp) chunk_lengths(Rows p) {
    const int64_t b = int64_t{blockIdx.x} * kWarp + threadIdx.x, L = p.L, M = p.M;
    if (b >= p.B) return;
    double length = p.state.data ? fmax(static_cast<double>(p.state.data[b * p.state.stride[0] + M]), 0.0) : 0;
    for (int64_t c = 0; c < p.chunks; ++c) {
        p.lengths[b * (p.chunks + 1) + c] = length;
        const int last = p.last_start[b * p.chunks + c];
        const int64_t n = min(int64_t{kSteps}, L - c * kSteps);
        length = last >= 0 ? static_cast<double>(n - last) : length + static_cast<double>(n);
    }
    p.lengths[b * (p.chunks + 1) + p.chunks] = length;
    if (p.state_out.data) p.state_out.data[b * p.state_out.stride[0] + M] = static_cast<float>(length);
}

// Sum or maximum of the steps from the chunk's last start on; a thread a column.
template <class T>
__global__ void __launch_bounds__(kThreads) forward_summaries(Problem<T> p) {
    const Place at = place_of(p);
    const int64_t M = p.M;
    if (at.m >= M) return;
    const int first = max(p.last_start[at.b * p.chunks + at.c], 0);
    const T* y = p.y.data + at.b * p.y.stride[0] + at.t0 * p.y.stride[1] + at.m;
    double& carry = p.carry[(at.b * p.chunks + at.c) * M + at.m];
    if (p.kind == PoolKind::mean) {
        double sum = 0;
#pragma unroll 8
        for (int t = first; t < at.n; ++t) sum += to_float(y[t * p.y.stride[1]]);
        carry = sum;
    } else {
        float top = to_float(y[first * p.y.stride[1]]);
#pragma unroll 8
        for (int t = first; t < at.n; ++t) {
            const float x = to_float(y[t * p.y.stride[1]]);
            top = exceeds(x, top) ? x : top;
        }
        carry = top;
    }
}

// A thread a column of a row: what a chunk hands on becomes what is handed to it.
__global__ void __launch_bounds__(kThreads) forward_carries(Rows p) {
    const int64_t M = p.M, slices = p.slices, b = blockIdx.x / slices;
    const int64_t m = blockIdx.x % slices * kThreads + threadIdx.x;
    if (m >= M) return;
    const bool mean = p.kind == PoolKind::mean;
    const double* lengths = p.lengths + b * (p.chunks + 1);
    double carry = 0;
    if (lengths[0] > 0) {
        carry = p.state.data[b * p.state.stride[0] + m];
        if (mean) carry *= lengths[0];
    }
#pragma unroll 4
    for (int64_t c = 0; c < p.chunks; ++c) {
        double& place = p.carry[(b * p.chunks + c) * M + m];
        const double own = place;
        place = carry;
        if (p.last_start[b * p.chunks + c] >= 0 || !(lengths[c] > 0))
            carry = own;
        else if (mean)
            carry += own;
        else
            carry = exceeds(static_cast<float>(own), static_cast<float>(carry)) ? own : carry;
    }
    if (!p.state_out.data) return;
    if (mean) carry /= lengths[p.chunks];
    p.state_out.data[b * p.state_out.stride[0] + m] = static_cast<float>(carry);
}

// The last position's pool is itself; there is no carry.
template <class T>
__global__ void __launch_bounds__(kThreads) forward_results(Problem<T> p) {
    __shared__ unsigned words[kWords];
    __shared__ double parts[kSteps];
    const Place at = place_of(p);
    const int64_t M = p.M;
    read_starts(p, at, words);
    if (p.kind == PoolKind::mean) read_parts(p, at, words, parts);
    if (at.m >= M) return;
    const T* y = p.y.data + at.b * p.y.stride[0] + at.t0 * p.y.stride[1] + at.m;
    float* z = p.z.data ? p.z.data + at.b * p.z.stride[0] + at.t0 * p.z.stride[1] + at.m : nullptr;
    double pool = p.kind == PoolKind::last ? 0 : p.carry[(at.b * p.chunks + at.c) * M + at.m];
    by_kind(p.kind, [&](auto kind) {
#pragma unroll 8
        for (int t = 0; t < at.n; ++t) {
            const float x = to_float(y[t * p.y.stride[1]]);
            const bool begins = starts_at(words, t);
            if constexpr (kind() == PoolKind::last) {
                if (z) z[t * p.z.stride[1]] = x;
                if (p.state_out.data && at.t0 + t == p.L - 1)
                    p.state_out.data[at.b * p.state_out.stride[0] + at.m] = x;
            } else if constexpr (kind() == PoolKind::mean) {
                pool = begins ? x : pool + x;
                z[t * p.z.stride[1]] = static_cast<float>(pool * parts[t]);
            } else {
                const float top = static_cast<float>(pool);
                pool = begins || exceeds(x, top) ? x : top;
                z[t * p.z.stride[1]] = static_cast<float>(pool);
            }
        }
    });
}

// The gradient of z at step t of the chunk, with that of the state that is handed on.
__device__ __forceinline__ float d_at(const Rows& p, const Place& at, int t) {
    float d = p.d_z.data[at.b * p.d_z.stride[0] + (at.t0 + t) * p.d_z.stride[1] + at.m];
    if (p.d_state.data && at.t0 + t == p.L - 1) d += p.d_state.data[at.b * p.d_state.stride[0] + at.m];
    return d;
}

// Whether step t has the maximum from there on until another one does.
template <class T>
__device__ __forceinline__ bool takes(const Problem<T>& p, const Place& at, const unsigned* words, int t) {
    if (starts_at(words, t)) return true;
    const int64_t before = at.t0 + t - 1;
    const float y = to_float(p.y.data[at.b * p.y.stride[0] + (before + 1) * p.y.stride[1] + at.m]);
    const float top = before >= 0 ? p.z_given.data[at.b * p.z_given.stride[0] + before * p.z_given.stride[1] + at.m]
                                  : p.state.data[at.b * p.state.stride[0] + at.m];
    return exceeds(y, top);
}

// What the steps of a chunk before its first start (the maximum: before the first that takes) give to the past.
template <class T>
__global__ void __launch_bounds__(kThreads) backward_summaries(Problem<T> p) {
    __shared__ unsigned words[kWords];
    __shared__ double parts[kSteps];
    const Place at = place_of(p);
    const int64_t M = p.M;
    read_starts(p, at, words);
    if (p.kind == PoolKind::mean) read_parts(p, at, words, parts);
    if (at.m >= M) return;
    double sum = 0;
    bool closed = false;
    by_kind(p.kind, [&](auto kind) {
#pragma unroll 4
        for (int t = 0; t < at.n; ++t) {
            const bool stops = kind() == PoolKind::mean ? starts_at(words, t) : takes(p, at, words, t);
            closed = closed || stops;
            const double d = d_at(p, at, t);
            if (!closed) sum += kind() == PoolKind::mean ? d * parts[t] : d;
        }
    });
    const int64_t place = (at.b * p.chunks + at.c) * M + at.m;
    p.carry[place] = sum;
    p.closed[place] = closed ? 1 : 0;
}

// A thread a column of a row, from the last chunk on: what a chunk gives becomes what is given to it.
__global__ void __launch_bounds__(kThreads) backward_carries(Rows p) {
    const int64_t M = p.M, b = blockIdx.x / p.slices, m = blockIdx.x % p.slices * kThreads + threadIdx.x;
    if (m >= M) return;
    double carry = 0;
#pragma unroll 4
    for (int64_t c = p.chunks; c-- > 0;) {
        const int64_t place = (b * p.chunks + c) * M + m;
        const double own = p.carry[place];
        p.carry[place] = carry;
        carry = p.closed[place] ? own : own + carry;
    }
    // Of the gradient, for the last results read the one that came in.
    p.carry[(p.B * p.chunks + b) * M + m] =
        p.kind == PoolKind::mean ? carry * p.lengths[b * (p.chunks + 1)] : carry;
}

template <class T>
__global__ void __launch_bounds__(kThreads) backward_results(Problem<T> p) {
    __shared__ unsigned words[kWords];
    __shared__ double parts[kSteps];
    const Place at = place_of(p);
    const int64_t M = p.M;
    read_starts(p, at, words);
    if (p.kind == PoolKind::mean) read_parts(p, at, words, parts);
    if (at.m >= M) return;
    T* d_y = p.d_y.data + at.b * p.d_y.stride[0] + at.t0 * p.d_y.stride[1] + at.m;
    double flow = p.kind == PoolKind::last ? 0 : p.carry[(at.b * p.chunks + at.c) * M + at.m];
    by_kind(p.kind, [&](auto kind) {
#pragma unroll 4
        for (int t = at.n - 1; t >= 0; --t) {
            const double d = d_at(p, at, t);
            T& to = d_y[t * p.d_y.stride[1]];
            if constexpr (kind() == PoolKind::last) {
                to = from_float<T>(static_cast<float>(d));
            } else if constexpr (kind() == PoolKind::mean) {
                flow += d * parts[t];
                to = from_float<T>(static_cast<float>(flow));
                if (starts_at(words, t)) flow = 0;
            } else {
                flow += d;
                const bool own = takes(p, at, words, t);
                to = from_float<T>(own ? static_cast<float>(flow) : 0.0f);
                if (own) flow = 0;
            }
        }
    });
}

// The gradient of the state; nothing reads the one that came in any more. A thread a column of a row.
__global__ void __launch_bounds__(kThreads) state_gradients(Rows p) {
    const int64_t M = p.M, slices = (M + kThreads) / kThreads, b = blockIdx.x / slices;
    const int64_t m = blockIdx.x % slices * kThreads + threadIdx.x;
    if (m > M) return;
    const bool zero = m == M || p.kind == PoolKind::last;
    const double carry = zero ? 0 : p.carry[(p.B * p.chunks + b) * M + m];
    p.d_state.data[b * p.d_state.stride[0] + m] = static_cast<float>(carry);
}

struct Room {
    int64_t B, chunks, M;
    int64_t lengths() const { return B * (chunks + 1) * int64_t{sizeof(double)}; }
    int64_t carries() const { return B * (chunks + 1) * M * int64_t{sizeof(double)}; }
    int64_t starts() const { return B * chunks * int64_t{sizeof(int)}; }
    int64_t bytes() const { return lengths() + carries() + starts() + B * chunks * M; }
};

template <class T>
Problem<T> problem_of(const PoolArgs& args, void* scratch) {
    Problem<T> p{};
    p.y = args.y.as<const T, 3>("y");
    p.kind = args.kind;
    p.B = p.y.shape[0], p.L = p.y.shape[1], p.M = p.y.shape[2];
    p.start = args.start.as<const uint8_t, 2>("start");
    p.state = args.state.as<const float, 2>("state");
    p.chunks = ceil_div(p.L, int64_t{kSteps});
    p.slices = ceil_div(p.M, int64_t{kThreads});
    const Room room{p.B, p.chunks, p.M};
    auto* at = static_cast<char*>(scratch);
    p.lengths = reinterpret_cast<double*>(at);
    p.carry = reinterpret_cast<double*>(at += room.lengths());
    p.last_start = reinterpret_cast<int*>(at += room.carries());
    p.closed = reinterpret_cast<uint8_t*>(at + room.starts());
    return p;
}

void count_lengths(cudaStream_t stream, const Rows& p) {
    launch(stream, blocks(p.B * p.chunks), kWarp, 0, last_starts, p);
    launch(stream, blocks(ceil_div(p.B, int64_t{kWarp})), kWarp, 0, chunk_lengths, p);
}

template <class T>
void forward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const TensorRef& state_out, void* scratch) {
    Problem<T> p = problem_of<T>(args, scratch);
    p.z = z.as<float, 3>("z");
    p.state_out = state_out.as<float, 2>("state_out");
    const unsigned columns = blocks(p.B * p.slices), all = blocks(p.B * p.chunks * p.slices);
    cudaStream_t stream = ctx.gpu->stream();
    count_lengths(stream, p);
    if (p.kind != PoolKind::last) {
        launch(stream, all, kThreads, 0, forward_summaries<T>, p);
        launch(stream, columns, kThreads, 0, forward_carries, p);
    }
    if (p.z.data || p.kind == PoolKind::last) launch(stream, all, kThreads, 0, forward_results<T>, p);
}

template <class T>
void backward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const PoolGrads& grads, void* scratch) {
    Problem<T> p = problem_of<T>(args, scratch);
    p.z_given = z.as<const float, 3>("z");
    p.d_z = grads.d_z.as<const float, 3>("d_z");
    p.d_y = grads.d_y.as<T, 3>("d_y");
    p.d_state = grads.d_state.as<float, 2>("d_state");
    const unsigned columns = blocks(p.B * p.slices), all = blocks(p.B * p.chunks * p.slices);
    cudaStream_t stream = ctx.gpu->stream();
    count_lengths(stream, p);
    if (p.kind != PoolKind::last) {
        launch(stream, all, kThreads, 0, backward_summaries<T>, p);
        launch(stream, columns, kThreads, 0, backward_carries, p);
    }
    launch(stream, all, kThreads, 0, backward_results<T>, p);
    if (p.d_state.data) launch(stream, blocks(p.B * ((p.M + kThreads) / kThreads)), kThreads, 0, state_gradients, p);
}

}  // namespace

int64_t pool_scratch_bytes(int64_t B, int64_t L, int64_t M, PoolKind) {
    return Room{B, ceil_div(L, int64_t{kSteps}), M}.bytes();
}

void pool_forward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const TensorRef& state_out, void* scratch) {
    if (args.y.numel() == 0) return;
    auto* run = args.y.dtype == DType::f32 ? forward<float> : forward<bf16>;
    run(ctx, args, z, state_out, scratch);
}

void pool_backward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const PoolGrads& grads, void* scratch) {
    if (args.y.numel() == 0) return;
    auto* run = args.y.dtype == DType::f32 ? backward<float> : backward<bf16>;
    run(ctx, args, z, grads, scratch);
}

}  // namespace adder::cuda
