// The backward of ssd.h in plain f32 arithmetic: where chunk_states are f32, whatever the storage. See
// ssd_backward.cuh.
//
// Both kernels have 256 threads and work on 64 x 64 tiles of f32 in shared memory; a thread owns rows ty + 16
// r, columns tx + 16 c, r and c below 4, of every result, so that sums it makes in memory need no barrier.
//
// states: a block carries 64 channels x 64 of N of one head's d_state from the end of a segment of time to
// its begin.
//
// chunk: a block walks the heads of a group in one chunk. G and the sum of dG stay in registers; d_B and d_C
// are summed in scratch (f32 rows of this set of heads) in the order of the heads.
//
// Exponents are differences of two-float sums; gradients of the log decays are sums of terms between steps,
// never differences of longer sums. Per head-step P (6 N + 4 * 64) flops and a quarter as many loads from
// shared memory, which are the bound: about 40,000 clocks for 64 steps at P = 64, N = 128. Bytes: 4 (3 P + 4
// N) + 8 P N / 64. Longer than other files: two kernels that share their tiles of shared memory and nothing
// with others.
#include "kernels/ssd/ssd_backward.cuh"

namespace adder::cuda {

namespace {

constexpr int kTile = 64, kRow = kTile + 1;  // rows one apart from the number of banks
constexpr int kThreads = 256;

struct Micro {
    float c[4][4] = {};
};
__device__ __forceinline__ int row_of(int r) {
    return static_cast<int>(threadIdx.x) / 16 + 16 * r;
}
__device__ __forceinline__ int col_of(int c) {
    return static_cast<int>(threadIdx.x) % 16 + 16 * c;
}

// f(row, column, element) for the thread's elements.
template <class F>
__device__ __forceinline__ void each(Micro& m, const F& f) {
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) f(row_of(r), col_of(c), m.c[r][c]);
}

// Rows [begin, end) x columns [0, cols) of `from` (row 0 first), zeros elsewhere.
template <class T>
__device__ __forceinline__ void load_tile(float* tile, const T* from, int64_t stride, int begin, int end, int cols) {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile; i += kThreads) {
        const int r = i / kTile, c = i % kTile;
        tile[r * kRow + c] = r >= begin && r < end && c < cols ? to_float(from[r * stride + c]) : 0.0f;
    }
}

// How a tile holds an operand: with rows along the result, or along the sum.
enum class Held { rows, sum };

// m += A B over the first K of the sum, last first: gradients that decay on their way back are small before they are
// large.
template <Held HeldA, Held HeldB>
__device__ __forceinline__ void multiply(Micro& m, const float* A, const float* B, int K) {
#pragma unroll 4
    for (int k = K - 1; k >= 0; --k) {
        float a[4], b[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            a[i] = HeldA == Held::rows ? A[row_of(i) * kRow + k] : A[k * kRow + row_of(i)];
            b[i] = HeldB == Held::rows ? B[col_of(i) * kRow + k] : B[k * kRow + col_of(i)];
        }
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
            for (int c = 0; c < 4; ++c) m.c[r][c] += a[r] * b[c];
    }
}

// 2^(hi + lo) for a small lo, which adding them would lose.
__device__ __forceinline__ float exp2_of(float hi, float lo) {
    const float x = exp2f(hi);
    return x + x * (lo * 0.6931471805599453f);
}
__device__ __forceinline__ int smaller(int a, int b) {
    return a < b ? a : b;
}

// ---- states ----

constexpr size_t kStatesShared = (2 * kTile * kRow + kTile) * sizeof(float);

template <class T>
__global__ void __launch_bounds__(kThreads) states_kernel(SsdBackwardArgs<T> a, bool local) {
    float* d_y = dynamic_shared<float>();
    float *C = d_y + kTile * kRow, *e = C + kTile * kRow;
    const int P = a.in.P, N = a.in.N, tiles_n = (N + kTile - 1) / kTile;
    const SsdStatesTask task(a, (P + kTile - 1) / kTile * tiles_n, local);
    const int p0 = task.tile / tiles_n * kTile, n0 = task.tile % tiles_n * kTile;
    const auto valid = [&](int p, int n) { return p0 + p < P && n0 + n < N; };
    const auto at = [&](int p, int n) { return static_cast<int64_t>(p0 + p) * a.width + n0 + n; };
    Micro d;
    float* carry = a.segments > 1 ? a.carry_of(task.b, task.seg, task.h) : nullptr;
    if (!local)
        each(d, [&](int p, int n, float& x) {
            if (!valid(p, n)) return;
            if (carry)
                x = carry[at(p, n)];
            else if (a.d_h)
                x = a.d_h(task.b, task.h, p0 + p, n0 + n);
        });
    float total = 1;
    bool cut = false;
    for (int64_t chunk = task.c1 - 1; chunk >= task.c0; --chunk) {
        const int64_t t0 = chunk * kChunk;
        const ChunkStarts starts = chunk_starts(a.in, task.b, chunk);
        const int rows = smaller(starts.first(), static_cast<int>(a.in.L - t0 < kChunk ? a.in.L - t0 : kChunk));
        const int64_t steps = a.steps.row(task.b, task.h, a.in.H, chunk);
        const auto decay_to = [&](int i) {
            return exp2_of(a.steps.hi[steps + i], a.steps.lo ? a.steps.lo[steps + i] : 0);
        };
        __syncthreads();
        if (threadIdx.x < kChunk) e[threadIdx.x] = decay_to(static_cast<int>(threadIdx.x));
        load_tile(d_y, &a.d_y(task.b, t0, task.h * P + p0), a.d_y.stride[1], 0, rows, P - p0);
        load_tile(C, &a.in.C(task.b, t0, a.in.group(task.h) * N + n0), a.in.C.stride[1], 0, rows, N - n0);
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < rows * kTile; i += kThreads)
            d_y[i / kTile * kRow + i % kTile] *= e[i / kTile];
        if (!local) {
            float* to = a.template d_state<float>(task.b, chunk, task.h);
            each(d, [&](int p, int n, float& x) {
                if (valid(p, n)) to[at(p, n)] = x;
            });
        }
        const float decay = e[kChunk - 1];
        __syncthreads();
        each(d, [&](int, int, float& x) { x = starts.any() ? 0.0f : x * decay; });
        multiply<Held::sum, Held::sum>(d, d_y, C, rows);
        cut = cut || starts.any();
        total *= decay;
    }
    if (local) {
        each(d, [&](int p, int n, float& x) {
            if (valid(p, n)) carry[at(p, n)] = x;
        });
        if (threadIdx.x == 0 && task.tile == 0) a.decay_of(task.b, task.seg, task.h) = cut ? -1.0f : total;
    } else if (task.seg == 0 && a.d_h) {
        each(d, [&](int p, int n, float& x) {
            if (valid(p, n)) a.d_h(task.b, task.h, p0 + p, n0 + n) = x;
        });
    }
}

// ---- chunk ----

struct Room {
    float *x, *d_y, *mix, *one, *two;  // tiles
    float *hi, *lo, *gain;             // kChunk each; gain is zero outside the run
    float *z, *v, *x_u, *pairs;        // kChunk each
    float* sums;                       // kThreads / kWarp, for block_sum

    __device__ Room() {
        float* f = dynamic_shared<float>();
        constexpr int kOne = kTile * kRow;
        x = f, d_y = f + kOne, mix = f + 2 * kOne, one = f + 3 * kOne, two = f + 4 * kOne, f += 5 * kOne;
        hi = f, lo = f + kChunk, gain = f + 2 * kChunk, f += 3 * kChunk;
        z = f, v = f + kChunk, x_u = f + 2 * kChunk, pairs = f + 3 * kChunk, sums = f + 4 * kChunk;
    }
};
constexpr size_t kChunkShared = (5 * kTile * kRow + 7 * kChunk + kThreads / kWarp) * sizeof(float);

template <class T>
struct ChunkWork {
    const SsdBackwardArgs<T>& a;
    const SsdChunkTask& task;
    SsdRun run;
    Room s;
    Micro G, d_G;  // (i, j)

    // Adds scale(row) * m to this set's rows of d_B or d_C, columns from n0; per row the dot of that with
    // other(row, n) to dots.
    template <class Scale, class Other>
    __device__ void add_rows(int which, int n0, Micro& m, float* dots, const Scale& scale, const Other& other) const {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int i = row_of(r);
            float dot = 0;
            if (run.has(i)) {
                float* row = a.partial_row(which, task.set, task.b, task.t0 + i, task.g) + n0;
                const float by = scale(i);
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    const int n = col_of(c);
                    if (n0 + n >= a.in.N) continue;
                    row[n] += by * m.c[r][c];
                    if (dots) dot += by * m.c[r][c] * other(i, n);
                }
            }
            if (!dots) continue;
            dot = warp_sum<16>(dot);
            if (threadIdx.x % 16 == 0) dots[i] += dot;
        }
    }

    __device__ void load_group(int n0) const {  // C, B -> one, two
        const int64_t column = static_cast<int64_t>(task.g) * a.in.N + n0;
        __syncthreads();
        load_tile(s.one, &a.in.C(task.b, task.t0, column), a.in.C.stride[1], run.begin, run.end, a.in.N - n0);
        load_tile(s.two, &a.in.Bm(task.b, task.t0, column), a.in.Bm.stride[1], run.begin, run.end, a.in.N - n0);
        __syncthreads();
    }
    __device__ void load_channels(int h, int p0) const {
        const int64_t column = static_cast<int64_t>(h) * a.in.P + p0;
        __syncthreads();
        load_tile(s.x, &a.in.x(task.b, task.t0, column), a.in.x.stride[1], run.begin, run.end, a.in.P - p0);
        load_tile(s.d_y, &a.d_y(task.b, task.t0, column), a.d_y.stride[1], run.begin, run.end, a.in.P - p0);
        __syncthreads();
    }
    __device__ int terms(int n0) const {
        return smaller(kTile, a.in.N - n0);
    }
    __device__ int channels(int p0) const {
        return smaller(kTile, a.in.P - p0);
    }

    // G, and zeros in the rows that are summed.
    __device__ void begin() {
        G = d_G = Micro{};
        for (int n0 = 0; n0 < a.in.N; n0 += kTile) {
            load_group(n0);
            multiply<Held::rows, Held::rows>(G, s.one, s.two, terms(n0));
            for (int which = 0; which < 2; ++which)
                each(G, [&](int i, int n, float&) {
                    if (run.has(i) && n0 + n < a.in.N)
                        a.partial_row(which, task.set, task.b, task.t0 + i, task.g)[n0 + n] = 0;
                });
        }
    }
    // The sum of dG over the heads meets B and C.
    __device__ void end() {
        each(d_G, [&](int i, int j, float& x) { s.mix[i * kRow + j] = x; });
        const auto one = [](int) { return 1.0f; };
        const auto none = [](int, int) { return 0.0f; };
        for (int n0 = 0; n0 < a.in.N; n0 += kTile) {
            load_group(n0);
            Micro c, b;
            multiply<Held::rows, Held::sum>(c, s.mix, s.two, run.end);
            multiply<Held::sum, Held::sum>(b, s.mix, s.one, run.end);
            add_rows(1, n0, c, nullptr, one, none);
            add_rows(0, n0, b, nullptr, one, none);
        }
    }

    // mix = L G, dG += L b M, W -> one; the sum of the diagonal of M.
    __device__ float pair_gradients(int h) {
        Micro M;
        for (int p0 = 0; p0 < a.in.P; p0 += kTile) {
            load_channels(h, p0);
            multiply<Held::rows, Held::rows>(M, s.d_y, s.x, channels(p0));
        }
        float skip = 0;
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                const int i = row_of(r), j = col_of(c);
                const float L = exp2_of(s.hi[i] - s.hi[j], s.lo[i] - s.lo[j]);
                const float d = i >= j ? L * s.gain[j] * M.c[r][c] : 0.0f;
                s.mix[i * kRow + j] = i >= j ? L * G.c[r][c] : 0.0f;
                s.one[i * kRow + j] = i > j ? d * G.c[r][c] : 0.0f;
                d_G.c[r][c] += d;
                skip += i == j ? M.c[r][c] : 0.0f;
            }
        return skip;
    }
    // pairs[k] = sum over j < k <= i of W[i][j]: down every column from its end, then along row k.
    __device__ void sum_pairs() const {
        __syncthreads();
        if (threadIdx.x < kChunk) {
            float sum = 0;
            for (int i = kChunk - 1; i > static_cast<int>(threadIdx.x); --i)
                s.one[i * kRow + threadIdx.x] = sum += s.one[i * kRow + threadIdx.x];
        }
        __syncthreads();
        const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
        for (int k = warp; k < kChunk; k += kThreads / kWarp) {
            const float sum =
                (lane < k ? s.one[k * kRow + lane] : 0) + (lane + 32 < k ? s.one[k * kRow + lane + 32] : 0);
            const float total = warp_sum(sum);
            if (lane == 0) s.pairs[k] = total;
        }
    }

    __device__ float from_begin(int i) const {
        return exp2_of(s.hi[i], s.lo[i]);
    }
    __device__ float to_end(int j) const {
        return exp2_of(s.hi[run.end - 1] - s.hi[j], s.lo[run.end - 1] - s.lo[j]);
    }

    // What goes through the states at channels p0: u, rows of d_B and d_C, z, v; returns this thread's part
    // of <h, dH>.
    __device__ float state_gradients(int h, int p0, Micro& u) const {
        const int N = a.in.N, rows = channels(p0);
        float through = 0;
        for (int n0 = 0; n0 < N; n0 += kTile) {
            __syncthreads();
            if (run.last) {
                const float* after = a.template d_state<float>(task.b, task.chunk, h);
                load_tile(s.one, after + static_cast<int64_t>(p0) * a.width + n0, a.width, 0, rows, N - n0);
                load_tile(s.two, &a.in.Bm(task.b, task.t0, static_cast<int64_t>(task.g) * N + n0), a.in.Bm.stride[1],
                          run.begin, run.end, N - n0);
                __syncthreads();
                multiply<Held::rows, Held::rows>(u, s.two, s.one, terms(n0));
                Micro b;
                multiply<Held::rows, Held::sum>(b, s.x, s.one, rows);
                add_rows(
                    0, n0, b, s.v, [&](int j) { return to_end(j) * s.gain[j]; },
                    [&](int j, int n) { return s.two[j * kRow + n]; });
                __syncthreads();
            }
            if (run.first) {
                const float* before = a.template state<float>(task.b, task.chunk, h);
                load_tile(s.two, before + static_cast<int64_t>(p0) * N + n0, N, 0, rows, N - n0);
                __syncthreads();
                Micro c;
                multiply<Held::rows, Held::sum>(c, s.d_y, s.two, rows);
                const T* C = &a.in.C(task.b, task.t0, static_cast<int64_t>(task.g) * N + n0);
                add_rows(
                    1, n0, c, s.z, [&](int i) { return from_begin(i); },
                    [&](int i, int n) { return to_float(C[i * a.in.C.stride[1] + n]); });
                if (run.whole())
                    each(c, [&](int p, int n, float&) { through += s.one[p * kRow + n] * s.two[p * kRow + n]; });
            }
        }
        return through;
    }

    // u becomes whole, then d_x; x u by step.
    __device__ void input_gradients(int h, int p0, Micro& u) const {
        const float D = a.in.D[h];
        if (run.last) each(u, [&](int j, int, float& x) { x *= to_end(j); });
        multiply<Held::sum, Held::sum>(u, s.mix, s.d_y, run.end);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int j = row_of(r);
            T* to = a.d_x.data + task.b * a.d_x.stride[0] + (task.t0 + j) * a.d_x.stride[1] +
                    static_cast<int64_t>(h) * a.in.P + p0;
            float dot = 0;
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                const int p = col_of(c);
                dot += u.c[r][c] * s.x[j * kRow + p];
                if (run.has(j) && p0 + p < a.in.P)
                    to[p] = from_float<T>(s.gain[j] * u.c[r][c] + D * s.d_y[j * kRow + p]);
            }
            dot = warp_sum<16>(dot);
            if (threadIdx.x % 16 == 0) s.x_u[j] += dot;
        }
    }

    __device__ void head(int h) {
        __syncthreads();
        if (threadIdx.x < kChunk) {
            const int i = static_cast<int>(threadIdx.x);
            const int64_t at = a.steps.row(task.b, h, a.in.H, task.chunk);
            const int from = run.source(i);
            s.hi[i] = from >= 0 ? a.steps.hi[at + from] : 0.0f;
            s.lo[i] = from >= 0 && a.steps.lo ? a.steps.lo[at + from] : 0.0f;
            s.gain[i] = run.has(i) ? a.steps.gain[at + i] : 0.0f;
            s.z[i] = s.v[i] = s.x_u[i] = 0;
        }
        const float skip = pair_gradients(h);
        sum_pairs();
        float through = 0;
        for (int p0 = 0; p0 < a.in.P; p0 += kTile) {
            if (a.in.P > kTile) load_channels(h, p0);
            Micro u;
            through += state_gradients(h, p0, u);
            input_gradients(h, p0, u);
        }
        SsdRunSums sums{};
        sums.skip = block_sum<kThreads>(skip, s.sums);
        sums.through = block_sum<kThreads>(through, s.sums);
        if (threadIdx.x >= kWarp) return;
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            const int i = 2 * static_cast<int>(threadIdx.x) + k;
            if (!run.has(i)) continue;
            sums.pairs[k] = s.pairs[i], sums.before[k] = s.z[i], sums.after[k] = s.v[i], sums.gain[k] = s.x_u[i];
        }
        sums.through = run.whole() ? sums.through * from_begin(run.end - 1) : 0.0f;
        ssd_step_gradients(a, task, run, h, sums);
    }
};

template <class T>
__global__ void __launch_bounds__(kThreads) chunk_kernel(SsdBackwardArgs<T> a) {
    const SsdChunkTask task(a);
    const ChunkStarts starts = chunk_starts(a.in, task.b, task.chunk);
    for (int begin = 0; begin < task.q;) {
        ChunkWork<T> work{a, task, ssd_run_from(starts, begin, task.q), {}, {}, {}};
        work.begin();
        for (int h = task.h0; h < task.h1; ++h) work.head(h);
        work.end();
        begin = work.run.end;
    }
}

}  // namespace

template <class T>
void ssd_states_general(Ctx& ctx, const SsdBackwardArgs<T>& a, bool local) {
    const int64_t tiles = ceil_div(a.in.P, kTile) * ceil_div(a.in.N, kTile);
    launch(ctx.gpu->stream(), dim3(blocks(a.in.B * (a.segments - local) * a.in.H * tiles)), dim3(kThreads),
           kStatesShared, states_kernel<T>, a, local);
}

template <class T>
void ssd_chunk_general(Ctx& ctx, const SsdBackwardArgs<T>& a) {
    launch(ctx.gpu->stream(), dim3(blocks(a.in.B * a.in.chunks() * a.in.G * a.sets)), dim3(kThreads), kChunkShared,
           chunk_kernel<T>, a);
}

template void ssd_states_general<float>(Ctx&, const SsdBackwardArgs<float>&, bool);
template void ssd_states_general<bf16>(Ctx&, const SsdBackwardArgs<bf16>&, bool);
template void ssd_chunk_general<float>(Ctx&, const SsdBackwardArgs<float>&);
template void ssd_chunk_general<bf16>(Ctx&, const SsdBackwardArgs<bf16>&);

}  // namespace adder::cuda
