// The walk over segments of ssd.h by recurrence: any shape, arithmetic in f32.
//
// A block owns a panel of 64 channels p of one (b, h) in one segment and walks it step by step. Of its 16 x 16 threads,
// thread (i, j) keeps the states of channels 4 i to 4 i + 3 and of n = 4 j to 4 j + 3 in each of up to four groups of 64.
// x, B, C of kSteps steps lie in shared memory, zeros where there is no channel or state. The sum over n: in a thread in
// order, then over the 16 threads by halving distances.
// Operations: 3 N P per step and head (state 2, output 1), 2/3 of that without y. Bytes per step and head: 2 P and, per panel,
// 2 N elements, which the heads of a group share through the second-level cache.
#include "kernels/ssd/ssd_forward.cuh"

namespace adder::cuda {

namespace {

constexpr int kThreads = 256, kSteps = 16, kWide = 256, kGroups = kWide / 64;

struct alignas(16) Tiles {
    float x[kSteps][kSsdPanel];
    float B[kSteps][kWide], C[kSteps][kWide];
    float decay[kChunk], gain[kChunk];
};

template <class T>
struct Panel {
    const SsdWalk<T>& w;
    Tiles& tiles;
    int b, h, p0, channels, groups;  // groups of 64 states
    int i, j;                        // of this thread
    int64_t segment;
    float state[4][kGroups][4];  // [channel][group][n]

    __device__ Panel(const SsdWalk<T>& walk, Tiles& room) : w(walk), tiles(room) {}
    __device__ int n_of(int group, int v) const { return 64 * group + 4 * j + v; }
    // f(channel p of the head, state n, value) for what this thread owns.
    template <class F>
    __device__ void each(F&& f) {
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
            for (int k = 0; k < kGroups; ++k)
#pragma unroll
                for (int v = 0; v < 4; ++v)
                    if (4 * i + r < channels && n_of(k, v) < w.in.N) f(p0 + 4 * i + r, n_of(k, v), state[r][k][v]);
    }

    __device__ void begin() {
        clear();
        if (w.from_zero) return;
        const float* from = w.segments > 1 ? w.state(b, segment, h) : nullptr;
        each([&](int p, int n, float& s) {
            if (from)
                s = from[p * w.in.N + n];
            else if (w.in.h0)
                s = w.in.h0(b, h, p, n);
        });
    }

    template <class S>
    __device__ void keep(S* kept) {
        each([&](int p, int n, float& s) { kept[p * w.in.N + n] = from_float<S>(s); });
    }

    // The scalars of a chunk's steps. Returns the chunk's log decay in bits, for what has no start. A sum that begins with
    // a start is that of one step, so that the decay of every step is known, and NaN where A is.
    __device__ double load_scalars(int64_t chunk, const ChunkStarts& starts) {
        const int64_t row = w.steps.row(b, h, w.in.H, chunk);
        if (const int t = static_cast<int>(threadIdx.x); t < kChunk) {
            float hi = w.steps.hi[row + t], lo = w.steps.lo[row + t];
            if (t > 0 && !(starts.bits >> t & 1)) hi -= w.steps.hi[row + t - 1], lo -= w.steps.lo[row + t - 1];
            tiles.decay[t] = fast_exp2(hi + lo);
            tiles.gain[t] = w.steps.gain[row + t];
        }
        return static_cast<double>(w.steps.hi[row + kChunk - 1]) + w.steps.lo[row + kChunk - 1];
    }

    __device__ void load_tiles(int64_t t0, int rows) {
        const int lane = static_cast<int>(threadIdx.x) % kWarp;
        for (int r = static_cast<int>(threadIdx.x) / kWarp; r < kSteps; r += kThreads / kWarp) {
            const bool some = r < rows;
            const int64_t t = some ? t0 + r : 0;
            const T* x = w.in.x.data + b * w.in.x.stride[0] + t * w.in.x.stride[1] + h * w.in.P + p0;
            const T* B = w.in.Bm.data + b * w.in.Bm.stride[0] + t * w.in.Bm.stride[1] + w.in.group(h) * w.in.N;
            const T* C = w.in.C.data + b * w.in.C.stride[0] + t * w.in.C.stride[1] + w.in.group(h) * w.in.N;
            for (int c = lane; c < kSsdPanel; c += kWarp) tiles.x[r][c] = some && c < channels ? to_float(x[c]) : 0.0f;
            for (int n = lane; n < 64 * groups; n += kWarp) {
                tiles.B[r][n] = some && n < w.in.N ? to_float(B[n]) : 0.0f;
                tiles.C[r][n] = some && n < w.in.N && w.y ? to_float(C[n]) : 0.0f;
            }
        }
    }

    __device__ void clear() {
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
            for (int k = 0; k < kGroups; ++k)
#pragma unroll
                for (int v = 0; v < 4; ++v) state[r][k][v] = 0;
    }

    __device__ void advance(int row, float decay, float gain, float (&y)[4]) {
        float x[4];
        load<4>(&tiles.x[row][4 * i], x);
#pragma unroll
        for (int r = 0; r < 4; ++r) x[r] *= gain, y[r] = 0;
#pragma unroll
        for (int k = 0; k < kGroups; ++k) {
            if (k >= groups) break;
            float key[4], query[4];
            load<4>(&tiles.B[row][n_of(k, 0)], key);
            load<4>(&tiles.C[row][n_of(k, 0)], query);
#pragma unroll
            for (int r = 0; r < 4; ++r)
#pragma unroll
                for (int v = 0; v < 4; ++v) {
                    float& s = state[r][k][v];
                    s = decay * s + x[r] * key[v];
                    y[r] += s * query[v];
                }
        }
    }

    // The sums over the 16 threads of a channel: thread j gets that of channel 4 i + j / 4.
    __device__ float sum_over_states(const float (&y)[4]) const {
        const bool upper = j & 8, odd = j & 4;
        float two[2];
#pragma unroll
        for (int r = 0; r < 2; ++r)
            two[r] = (upper ? y[r + 2] : y[r]) + __shfl_xor_sync(kFullWarp, upper ? y[r] : y[r + 2], 8);
        float one = (odd ? two[1] : two[0]) + __shfl_xor_sync(kFullWarp, odd ? two[0] : two[1], 4);
        one += __shfl_xor_sync(kFullWarp, one, 2);
        return one + __shfl_xor_sync(kFullWarp, one, 1);
    }

    // The steps [t0, t0 + rows) of a chunk, which lie in the tiles.
    __device__ void walk_tiles(int64_t t0, int rows, const ChunkStarts& starts) {
        for (int row = 0; row < rows; ++row) {
            const int in_chunk = static_cast<int>(t0 % kChunk) + row;
            float y[4];
            if (starts.bits >> in_chunk & 1) clear();
            advance(row, tiles.decay[in_chunk], tiles.gain[in_chunk], y);
            if (!w.y) continue;
            const float sum = sum_over_states(y);
            const int c = 4 * i + j / 4;
            if (j % 4 == 0 && c < channels)
                w.y(b, t0 + row, h * w.in.P + p0 + c) = from_float<T>(sum + w.in.D[h] * tiles.x[row][c]);
        }
    }
};

template <class T>
__global__ void __launch_bounds__(kThreads, 2) recurrence_kernel(SsdWalk<T> w) {
    __shared__ Tiles tiles;
    wait_for_previous();
    release_next();
    const int panels = (w.in.P + kSsdPanel - 1) / kSsdPanel, units = w.in.H * panels;
    const int unit = static_cast<int>(blockIdx.x % units);
    const int64_t rest = blockIdx.x / units;
    Panel<T> a(w, tiles);
    a.b = static_cast<int>(rest % w.in.B), a.segment = w.first + rest / w.in.B;
    a.h = unit / panels, a.p0 = unit % panels * kSsdPanel;
    a.channels = w.in.P - a.p0 < kSsdPanel ? w.in.P - a.p0 : kSsdPanel;
    a.groups = (w.in.N + 63) / 64;
    a.i = static_cast<int>(threadIdx.x) / 16, a.j = static_cast<int>(threadIdx.x) % 16;
    a.begin();

    double log_decay = 0;
    bool cut = false;
    int64_t end = (a.segment + 1) * w.segment_chunks;
    if (end > w.in.chunks()) end = w.in.chunks();
    for (int64_t chunk = a.segment * w.segment_chunks; chunk < end; ++chunk) {
        if (w.chunk_states) {
            if (std::is_same_v<T, bf16> && w.bf16_states)
                a.keep(w.template chunk_state<bf16>(a.b, chunk, a.h));
            else
                a.keep(w.template chunk_state<float>(a.b, chunk, a.h));
        }
        const ChunkStarts starts = chunk_starts(w.in, a.b, chunk);
        cut |= starts.any();
        __syncthreads();
        log_decay += a.load_scalars(chunk, starts);
        for (int64_t t0 = chunk * kChunk; t0 < (chunk + 1) * kChunk && t0 < w.in.L; t0 += kSteps) {
            const int rows = static_cast<int>(w.in.L - t0 < kSteps ? w.in.L - t0 : kSteps);
            __syncthreads();
            a.load_tiles(t0, rows);
            __syncthreads();
            a.walk_tiles(t0, rows, starts);
        }
    }
    if (w.from_zero) {
        float* to = w.state(a.b, a.segment, a.h);
        a.each([&](int p, int n, float& s) { to[p * w.in.N + n] = s; });
        if (threadIdx.x == 0 && a.p0 == 0)
            *w.decay(a.b, a.segment, a.h) = cut ? SsdWalk<T>::kCut : exp2f(static_cast<float>(log_decay));
    } else if (a.segment == w.segments - 1) {
        a.each([&](int p, int n, float& s) { w.hT(a.b, a.h, p, n) = s; });
    }
}

}  // namespace

template <class T>
void ssd_walk_recurrence(Ctx& ctx, const SsdWalk<T>& walk, int64_t count) {
    const int64_t units = walk.in.H * ceil_div(walk.in.P, kSsdPanel);
    launch_early(ctx.gpu->stream(), dim3(blocks(count * walk.in.B * units)), dim3(kThreads), 0, recurrence_kernel<T>, walk);
}

template void ssd_walk_recurrence<float>(Ctx&, const SsdWalk<float>&, int64_t);
template void ssd_walk_recurrence<bf16>(Ctx&, const SsdWalk<bf16>&, int64_t);

}  // namespace adder::cuda
