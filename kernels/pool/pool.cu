// The steps of a row are cut into chunks of 256, by shape alone. In the order of the stream:
//   last_starts      where the last member of a chunk begins
//   chunk_lengths    length of the open member before every chunk; one thread a row
//   summaries        forward: sum or maximum of what a chunk hands on; backward: of what it gives to the
//   chunks before carries          the same before, or after, every chunk, in order of time; one thread a
//   column results          z, or d_y, of every step
// Sums are f64 in one order. Bytes: y twice and z once; backward d_z twice, d_y once, for the maximum y and z
// twice too. Longer than other files: all kernels of the op, forward and backward, over the same chunks.
#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/pool/pool_cuda.h"

namespace adder::cuda {

namespace {

constexpr int kThreads = 128, kSteps = 256, kWords = kSteps / kWarp;

template <class T>
struct Problem {
    View<const T, 3> y;
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
    View<T, 3> d_y;
    View<float, 2> d_state;
};
__device__ __forceinline__ bool exceeds(float y, float top) { return !(y <= top) && top == top; }

// What a block works on: chunk c of row b, columns from m on, counted through with the columns first.
struct Place {
    int64_t b, c, m, t0;
    int n;  // steps
};

template <class T>
__device__ __forceinline__ Place place_of(const Problem<T>& p) {
    Place at;
    int64_t rest = blockIdx.x;
    at.m = rest % p.slices * kThreads + threadIdx.x;
    rest /= p.slices;
    at.c = rest % p.chunks;
    at.b = rest / p.chunks;
    at.t0 = at.c * kSteps;
    at.n = static_cast<int>(min(int64_t{kSteps}, p.y.shape[1] - at.t0));
    return at;
}

// The starts of a chunk as bits, in shared memory. A row whose state is empty begins at step 0.
template <class T>
__device__ __forceinline__ void read_starts(const Problem<T>& p, const Place& at, unsigned* words) {
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
template <class T>
__device__ __forceinline__ void read_parts(const Problem<T>& p, const Place& at, const unsigned* words, double* parts) {
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
template <class T>
__global__ void __launch_bounds__(kWarp) last_starts(Problem<T> p) {
    const int64_t b = blockIdx.x / p.chunks, c = blockIdx.x % p.chunks, t0 = c * kSteps, L = p.y.shape[1];
    int last = -1;
    for (int i = 0; i < kWords && p.start.data; ++i) {
        const int64_t t = t0 + i * kWarp + threadIdx.x;
        const unsigned word = __ballot_sync(kFullWarp, t < L && p.start.data[b * p.start.stride[0] + t] != 0);
        if (word) last = i * kWarp + kWarp - 1 - __clz(static_cast<int>(word));
    }
    if (threadIdx.x == 0) p.last_start[blockIdx.x] = last;
}

// A thread a row, which alone reads and writes the length of the state.
template <class T>
__global__ void __launch_bounds__(kWarp) chunk_lengths(Problem<T> p) {
    const int64_t b = int64_t{blockIdx.x} * kWarp + threadIdx.x, L = p.y.shape[1], M = p.y.shape[2];
    if (b >= p.y.shape[0]) return;
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
template <class T, PoolKind kKind>
__global__ void __launch_bounds__(kThreads) forward_summaries(Problem<T> p) {
    const Place at = place_of(p);
    const int64_t M = p.y.shape[2];
    if (at.m >= M) return;
    const int first = max(p.last_start[at.b * p.chunks + at.c], 0);
    const T* y = p.y.data + at.b * p.y.stride[0] + at.t0 * p.y.stride[1] + at.m;
    double sum = 0;
    float top = to_float(y[first * p.y.stride[1]]);
#pragma unroll 8
    for (int t = first; t < at.n; ++t) {
        const float x = to_float(y[t * p.y.stride[1]]);
        if constexpr (kKind == PoolKind::mean)
            sum += x;
        else
            top = exceeds(x, top) ? x : top;
    }
    p.carry[(at.b * p.chunks + at.c) * M + at.m] = kKind == PoolKind::mean ? sum : top;
}

// A thread a column of a row: what a chunk hands on becomes what is handed to it.
template <class T, PoolKind kKind>
__global__ void __launch_bounds__(kThreads) forward_carries(Problem<T> p) {
    const int64_t M = p.y.shape[2], slices = p.slices, b = blockIdx.x / slices;
    const int64_t m = blockIdx.x % slices * kThreads + threadIdx.x;
    if (m >= M) return;
    const double* lengths = p.lengths + b * (p.chunks + 1);
    double carry = 0;
    if (lengths[0] > 0) {
        carry = p.state.data[b * p.state.stride[0] + m];
        if (kKind == PoolKind::mean) carry *= lengths[0];
    }
#pragma unroll 4
    for (int64_t c = 0; c < p.chunks; ++c) {
        double& place = p.carry[(b * p.chunks + c) * M + m];
        const double own = place;
        place = carry;
        if (p.last_start[b * p.chunks + c] >= 0 || !(lengths[c] > 0))
            carry = own;
        else if constexpr (kKind == PoolKind::mean)
            carry += own;
        else
            carry = exceeds(static_cast<float>(own), static_cast<float>(carry)) ? own : carry;
    }
    if (!p.state_out.data) return;
    if (kKind == PoolKind::mean) carry /= lengths[p.chunks];
    p.state_out.data[b * p.state_out.stride[0] + m] = static_cast<float>(carry);
}

template <class T, PoolKind kKind>
__global__ void __launch_bounds__(kThreads) forward_results(Problem<T> p) {
    __shared__ unsigned words[kWords];
    __shared__ double parts[kSteps];
    const Place at = place_of(p);
    const int64_t M = p.y.shape[2];
    read_starts(p, at, words);
    if constexpr (kKind == PoolKind::mean) read_parts(p, at, words, parts);
    if (at.m >= M) return;
    const T* y = p.y.data + at.b * p.y.stride[0] + at.t0 * p.y.stride[1] + at.m;
    float* z = p.z.data + at.b * p.z.stride[0] + at.t0 * p.z.stride[1] + at.m;
    double pool = p.carry[(at.b * p.chunks + at.c) * M + at.m];
#pragma unroll 8
    for (int t = 0; t < at.n; ++t) {
        const float x = to_float(y[t * p.y.stride[1]]);
        const bool begins = starts_at(words, t);
        if constexpr (kKind == PoolKind::mean) {
            pool = begins ? x : pool + x;
            z[t * p.z.stride[1]] = static_cast<float>(pool * parts[t]);
        } else {
            const float top = static_cast<float>(pool);
            pool = begins || exceeds(x, top) ? x : top;
            z[t * p.z.stride[1]] = static_cast<float>(pool);
        }
    }
}

// The gradient of z at step t of the chunk, with that of the state that is handed on.
template <class T>
__device__ __forceinline__ float d_at(const Problem<T>& p, const Place& at, int t) {
    float d = p.d_z.data[at.b * p.d_z.stride[0] + (at.t0 + t) * p.d_z.stride[1] + at.m];
    if (p.d_state.data && at.t0 + t == p.y.shape[1] - 1) d += p.d_state.data[at.b * p.d_state.stride[0] + at.m];
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
template <class T, PoolKind kKind>
__global__ void __launch_bounds__(kThreads) backward_summaries(Problem<T> p) {
    __shared__ unsigned words[kWords];
    __shared__ double parts[kSteps];
    const Place at = place_of(p);
    const int64_t M = p.y.shape[2];
    read_starts(p, at, words);
    if constexpr (kKind == PoolKind::mean) read_parts(p, at, words, parts);
    if (at.m >= M) return;
    double sum = 0;
    bool closed = false;
#pragma unroll 4
    for (int t = 0; t < at.n; ++t) {
        const bool stops = kKind == PoolKind::mean ? starts_at(words, t) : takes(p, at, words, t);
        closed = closed || stops;
        const double d = d_at(p, at, t);
        if (!closed) sum += kKind == PoolKind::mean ? d * parts[t] : d;
    }
    const int64_t place = (at.b * p.chunks + at.c) * M + at.m;
    p.carry[place] = sum;
    p.closed[place] = closed ? 1 : 0;
}

// A thread a column of a row, from the last chunk on: what a chunk gives becomes what is given to it.
template <class T, PoolKind kKind>
__global__ void __launch_bounds__(kThreads) backward_carries(Problem<T> p) {
    const int64_t M = p.y.shape[2], b = blockIdx.x / p.slices, m = blockIdx.x % p.slices * kThreads + threadIdx.x;
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
    p.carry[(p.y.shape[0] * p.chunks + b) * M + m] = kKind == PoolKind::mean ? carry * p.lengths[b * (p.chunks + 1)] : carry;
}

template <class T, PoolKind kKind>
__global__ void __launch_bounds__(kThreads) backward_results(Problem<T> p) {
    __shared__ unsigned words[kWords];
    __shared__ double parts[kSteps];
    const Place at = place_of(p);
    const int64_t M = p.y.shape[2];
    read_starts(p, at, words);
    if constexpr (kKind == PoolKind::mean) read_parts(p, at, words, parts);
    if (at.m >= M) return;
    T* d_y = p.d_y.data + at.b * p.d_y.stride[0] + at.t0 * p.d_y.stride[1] + at.m;
    double flow = kKind == PoolKind::last ? 0 : p.carry[(at.b * p.chunks + at.c) * M + at.m];
#pragma unroll 4
    for (int t = at.n - 1; t >= 0; --t) {
        const double d = d_at(p, at, t);
        T& to = d_y[t * p.d_y.stride[1]];
        if constexpr (kKind == PoolKind::last) {
            to = from_float<T>(static_cast<float>(d));
        } else if constexpr (kKind == PoolKind::mean) {
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
}

// The gradient of the state; nothing reads the one that came in any more. A thread a column of a row.
template <class T, PoolKind kKind>
__global__ void __launch_bounds__(kThreads) state_gradients(Problem<T> p) {
    const int64_t M = p.y.shape[2], slices = (M + kThreads) / kThreads, b = blockIdx.x / slices;
    const int64_t m = blockIdx.x % slices * kThreads + threadIdx.x;
    if (m > M) return;
    const bool zero = m == M || kKind == PoolKind::last;
    const double carry = zero ? 0 : p.carry[(p.y.shape[0] * p.chunks + b) * M + m];
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
    p.start = args.start.as<const uint8_t, 2>("start");
    p.state = args.state.as<const float, 2>("state");
    p.chunks = ceil_div(p.y.shape[1], int64_t{kSteps});
    p.slices = ceil_div(p.y.shape[2], int64_t{kThreads});
    const Room room{p.y.shape[0], p.chunks, p.y.shape[2]};
    auto* at = static_cast<char*>(scratch);
    p.lengths = reinterpret_cast<double*>(at);
    p.carry = reinterpret_cast<double*>(at += room.lengths());
    p.last_start = reinterpret_cast<int*>(at += room.carries());
    p.closed = reinterpret_cast<uint8_t*>(at + room.starts());
    return p;
}

template <class T>
void count_lengths(cudaStream_t stream, const Problem<T>& p) {
    const int64_t B = p.y.shape[0];
    launch(stream, blocks(B * p.chunks), kWarp, 0, last_starts<T>, p);
    launch(stream, blocks(ceil_div(B, int64_t{kWarp})), kWarp, 0, chunk_lengths<T>, p);
}

template <class T, PoolKind kKind>
void forward(cudaStream_t stream, const Problem<T>& p) {
    const unsigned columns = blocks(p.y.shape[0] * p.slices), all = blocks(p.y.shape[0] * p.chunks * p.slices);
    count_lengths(stream, p);
    launch(stream, all, kThreads, 0, forward_summaries<T, kKind>, p);
    launch(stream, columns, kThreads, 0, forward_carries<T, kKind>, p);
    if (p.z.data) launch(stream, all, kThreads, 0, forward_results<T, kKind>, p);
}

// The last position's pool is itself.
template <class T>
__global__ void __launch_bounds__(kThreads) last_results(Problem<T> p) {
    const Place at = place_of(p);
    if (at.m >= p.y.shape[2]) return;
    for (int t = 0; t < at.n; ++t) {
        const float x = to_float(p.y.data[at.b * p.y.stride[0] + (at.t0 + t) * p.y.stride[1] + at.m]);
        if (p.z.data) p.z.data[at.b * p.z.stride[0] + (at.t0 + t) * p.z.stride[1] + at.m] = x;
        if (p.state_out.data && at.t0 + t == p.y.shape[1] - 1) p.state_out.data[at.b * p.state_out.stride[0] + at.m] = x;
    }
}

template <class T, PoolKind kKind>
void backward(cudaStream_t stream, const Problem<T>& p) {
    const int64_t B = p.y.shape[0], M = p.y.shape[2];
    const unsigned columns = blocks(B * p.slices), all = blocks(B * p.chunks * p.slices);
    count_lengths(stream, p);
    if constexpr (kKind != PoolKind::last) {
        launch(stream, all, kThreads, 0, backward_summaries<T, kKind>, p);
        launch(stream, columns, kThreads, 0, backward_carries<T, kKind>, p);
    }
    launch(stream, all, kThreads, 0, backward_results<T, kKind>, p);
    if (p.d_state.data)
        launch(stream, blocks(B * ((M + kThreads) / kThreads)), kThreads, 0, state_gradients<T, kKind>, p);
}

template <class T>
void forward_as(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const TensorRef& state_out, void* scratch) {
    Problem<T> p = problem_of<T>(args, scratch);
    p.z = z.as<float, 3>("z");
    p.state_out = state_out.as<float, 2>("state_out");
    cudaStream_t stream = ctx.gpu->stream();
    switch (args.kind) {
        case PoolKind::mean: return forward<T, PoolKind::mean>(stream, p);
        case PoolKind::max: return forward<T, PoolKind::max>(stream, p);
        case PoolKind::last:
            count_lengths(stream, p);
            launch(stream, blocks(p.y.shape[0] * p.chunks * p.slices), kThreads, 0, last_results<T>, p);
    }
}

template <class T>
void backward_as(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const PoolGrads& grads, void* scratch) {
    Problem<T> p = problem_of<T>(args, scratch);
    p.z_given = z.as<const float, 3>("z");
    p.d_z = grads.d_z.as<const float, 3>("d_z");
    p.d_y = grads.d_y.as<T, 3>("d_y");
    p.d_state = grads.d_state.as<float, 2>("d_state");
    cudaStream_t stream = ctx.gpu->stream();
    switch (args.kind) {
        case PoolKind::mean: return backward<T, PoolKind::mean>(stream, p);
        case PoolKind::max: return backward<T, PoolKind::max>(stream, p);
        case PoolKind::last: return backward<T, PoolKind::last>(stream, p);
    }
}

}  // namespace

int64_t pool_scratch_bytes(int64_t B, int64_t L, int64_t M, PoolKind) {
    return Room{B, ceil_div(L, int64_t{kSteps}), M}.bytes();
}

void pool_forward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const TensorRef& state_out, void* scratch) {
    if (args.y.numel() == 0) return;
    auto* run = args.y.dtype == DType::f32 ? forward_as<float> : forward_as<bf16>;
    run(ctx, args, z, state_out, scratch);
}

void pool_backward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const PoolGrads& grads, void* scratch) {
    if (args.y.numel() == 0) return;
    auto* run = args.y.dtype == DType::f32 ? backward_as<float> : backward_as<bf16>;
    run(ctx, args, z, grads, scratch);
}

}  // namespace adder::cuda
