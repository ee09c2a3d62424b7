// The scan backward, see scan_kernels.cuh for how time is cut.
//
// Mapping: a thread owns one channel of one row and segment with 16 of its states and walks the segment's
// chunks of 64 steps from the last to the first. In a chunk it first repeats the states from chunk_states up
// to the last 8 steps; it keeps those before every 8 steps, and every dt, in its column of shared memory.
// Then it takes 8 steps at a time from the end: it prepares their scalars in its column, repeats their states
// into registers (8 x 16), walks back, and turns what the walk left in the column into d_u, d_dt_raw and d_z.
// With G the gradient of the state: G[t] = C[t] d_out[t] + a[t + 1] G[t + 1]; a is computed again on the way.
//
// d_B and d_C are sums over channels of G v and d_out h for every (t, n): the 32 values of a step are summed
// over the lanes of a warp, then over the warps of the block in shared memory, then over blocks by add_rows,
// always in one order. For bf16 storage tensor cores add over four lanes: each value is cut to tf32 once
// (2^-10, against 2^-8 of the storage type). f32 storage, zoh and N > 16 turn the values in shared memory and
// add them in f32.
//
// Bytes: u, dt, d_y, z in, d_u, d_dt_raw, d_z out, 7 s B L D with s = 2 or 4; inputs a second time, from L2;
// chunk_states 4 B L D N / 64; sums of d_B and d_C 16 N B L groups, in and out. Shared: 107 to 153 KiB
// a block; where the GPU does not have them the block has at most half as many threads and 61 to 85 KiB.
// Floor: for each (t, d, n) 3 exponentials (4 with more than one segment) at 16 a clock and multiprocessor,
// and 16 issue slots of the walk back, 4 of each other walk; measured in the machine code, 33 (43) slots.
// Any B, L, D, N, strides. Steps past the end of a row are skipped.
// Longer than other files: one kernel, whose pieces share its columns of shared memory.
#pragma once
#include "kernels/scan/scan_backward.cuh"

namespace adder::cuda::scan {

// Sums over the lanes of a warp of a step's values, one a lane for each of 16 states. mma adds over the four
// lanes of a group: the values are A, whose rows are groups, and B puts the sum of each of four values into a
// column of its own. A butterfly adds the groups. Only values of one step meet in an mma: a NaN times zero is
// a NaN, and it must not reach the steps of another packed member.
struct GroupSums {
    float c[4] = {};

    // Of four states; `column`: B, which has a one in two columns.
    __device__ __forceinline__ void add(const float (&value)[4], const float (&column)[2]) {
        mma_16x8x8_tf32(c, value, column);
    }
};

// `second` or `first`, never by a branch: the shuffles that follow want the lanes together.
__device__ __forceinline__ float choose(bool second, float first, float other) {
    return __uint_as_float(
        __byte_perm(__float_as_uint(first), __float_as_uint(other), second ? 0x7654 : 0x3210));
}
// Adds the eight values over the groups; lane (group, pair) gets that of x[group], for each pair.
__device__ __forceinline__ float add_groups(const float (&x)[8], int lane) {
    float four[4], two[2];
    const bool upper = lane & 16, middle = lane & 8, lower = lane & 4;
#pragma unroll
    for (int i = 0; i < 4; ++i)
        four[i] =
            choose(upper, x[i], x[i + 4]) + __shfl_xor_sync(kFullWarp, choose(upper, x[i + 4], x[i]), 16);
#pragma unroll
    for (int i = 0; i < 2; ++i)
        two[i] = choose(middle, four[i], four[i + 2]) +
                 __shfl_xor_sync(kFullWarp, choose(middle, four[i + 2], four[i]), 8);
    return choose(lower, two[0], two[1]) + __shfl_xor_sync(kFullWarp, choose(lower, two[1], two[0]), 4);
}

template <class T, bool kZoh, bool kMatrix, int kColumns>
struct BackwardWalk {
    const Backward<T>& p;
    const Inputs<T>& in;
    const Place at;
    const int tid, threads, lane, warp, lanes_log2, padded, row_floats;
    const bool active, gate, zoh;
    const BackwardShared part;
    float *const shared,
        *const column;  // column: this thread's in dt, and u and d_out at fixed distances from it
    float A2[kStates], g[1][kStates], d_A[kStates];
    float bias, skip, d_skip = 0.0f, d_bias = 0.0f;
    // Of the current chunk.
    int64_t t0;
    int steps, last, staged;
    uint64_t cuts;
    uint32_t sub_cuts;  // of the current sub-chunk

    __device__ __forceinline__ explicit BackwardWalk(const Backward<T>& p)
        : p(p),
          in(p.in),
          at(p.in, 1, kMatrix ? 0 : p.in.lanes_log2),
          tid(static_cast<int>(threadIdx.x)),
          threads(static_cast<int>(blockDim.x)),
          lane(tid % kWarp),
          warp(tid / kWarp),
          lanes_log2(kMatrix ? 0 : p.in.lanes_log2),
          padded(kStates << lanes_log2),
          row_floats(2 * padded),
          active(at.d < p.in.n_channels),
          gate(static_cast<bool>(p.in.z)),
          zoh(kZoh && p.in.zoh),
          part(lanes_log2, threads, kMatrix, kColumns),
          shared(dynamic_shared<float>()),
          column(shared + part.dt + tid) {
        load_rates(in, at, at.d, A2);
        bias = active ? in.dt_bias(at.d) : 0.0f;
        skip = active ? in.D(at.d) : 0.0f;
        (p.ends ? at.plane(p.ends, in.N, in.n_channels) : at.plane(p.d_h)).load(g);
#pragma unroll
        for (int n = 0; n < kStates; ++n) d_A[n] = 0.0f;
        // Each warp needs the same and reads it after a barrier.
        if (kMatrix && warp == 0)
            for (int i = 0; i < 8; ++i)
                shared[part.ones + (i / 2 * kWarp + lane) * 2 + i % 2] = lane / 4 == i ? 1.0f : 0.0f;
    }

    __device__ __forceinline__ float& dt_at(int t) const {
        return column[t * kColumns];
    }
    __device__ __forceinline__ float& u_at(int k) const {
        return column[(kChunk + k) * kColumns];
    }
    __device__ __forceinline__ float& d_out_at(int k) const {
        return column[(kChunk + kSub + k) * kColumns];
    }
    __device__ __forceinline__ const float* row_at(int t) const {
        return shared + part.rows + (kMatrix ? t : t % part.stage) * row_floats + at.n0;
    }

    __device__ __forceinline__ void begin_chunk(int chunk) {
        t0 = at.t0 + chunk * kChunk;
        steps = min(kChunk, at.steps - chunk * kChunk), last = (steps - 1) / kSub, staged = -1;
        cuts = 0;
        if (!in.start) return;
        const uint8_t* const start = &in.start(at.b, t0);
        cuts = uniform_ballot(lane < steps && start[min(lane, steps - 1)] != 0);
        const bool upper = kWarp + lane < steps && start[min(kWarp + lane, steps - 1)] != 0;
        cuts |= static_cast<uint64_t>(uniform_ballot(upper)) << kWarp;
    }

    // Brings the rows of the stage that sub-chunk `sub` lies in.
    __device__ __forceinline__ void stage_rows(int sub) {
        const int stage = kMatrix ? 0 : sub * kSub / part.stage;
        if (stage == staged) return;
        staged = stage;
        const Rows<T> rows(in, at.b, t0, 1, true);
        __syncthreads();
        for (int e = tid; e < part.stage * row_floats; e += threads)
            shared[part.rows + e] = rows(e, stage * part.stage, steps);
        __syncthreads();
    }

    // The states before sub-chunk `sub`: from chunk_states, or kept in shared memory.
    __device__ __forceinline__ void load_before(int sub, float (&h)[1][kStates]) const {
        if (sub == 0) {
            const View<const float, 4>& kept = p.chunk_states;
            StatePlane<const float>{&kept(at.b, t0 / kChunk, at.n0, at.d), kept.stride[2], 1, at.count}.load(
                h);
            return;
        }
        const float* const from = shared + part.states + (sub - 1) * kStates * kColumns + 4 * tid;
#pragma unroll
        for (int q = 0; q < kStates; q += 4) {
            float four[4];
            load<4>(from + q * kColumns, four);
#pragma unroll
            for (int j = 0; j < 4; ++j) h[0][q + j] = four[j];
        }
    }
    __device__ __forceinline__ void keep_before(int sub, const float (&h)[1][kStates]) const {
        float* const to = shared + part.states + (sub - 1) * kStates * kColumns + 4 * tid;
#pragma unroll
        for (int q = 0; q < kStates; q += 4)
            store<4>(to + q * kColumns, {h[0][q], h[0][q + 1], h[0][q + 2], h[0][q + 3]});
    }

    // The states of step t, the k-th of its sub-chunk, from those before it.
    __device__ __forceinline__ void advance(int t, int k, float dt, float u, const float (&from)[1][kStates],
                                            float (&to)[1][kStates]) const {
        const float v = zoh ? u : dt * u;
        const float* const row = row_at(t);
        const auto input = [&](int n, float B, float x2, float a) {
            return (zoh ? v * zoh_weight(dt, x2, a, A2[n]) : v) * B;
        };
        float B[kStates];
#pragma unroll
        for (int q = 0; q < kStates; q += 4) {
            float four[4];
            load<4>(row + q, four);
#pragma unroll
            for (int j = 0; j < 4; ++j) B[q + j] = four[j];
        }
        const auto walk = [&](bool cut) {
#pragma unroll
            for (int n = 0; n < kStates; ++n) {
                const float x2 = dt * A2[n], a = decay_of<T>(x2);
                to[0][n] = fmaf(a, cut ? 0.0f : from[0][n], input(n, B[n], x2, a));
            }
        };
        const bool cut = sub_cuts >> k & 1;
        if (kZoh) {
            walk(cut);
        } else if (cut) {
            __syncwarp();  // see zero_if
            walk(true);
        } else {
            walk(false);
        }
    }

    // Eight steps of one channel. Past the last step of the chunk zeros come instead.
    __device__ __forceinline__ void load_steps(const View<const T, 3>& v, int sub, bool wanted,
                                               Raw<T, 1> (&to)[kSub]) const {
        Cursor<T> c{&v(at.b, t0 + sub * kSub, at.d_read), v.stride[1]};
        const int left = wanted ? steps - sub * kSub : 0;
        if (left >= kSub) {
#pragma unroll
            for (int k = 0; k < kSub; ++k) to[k] = c.template next<1>(true);
        } else {
#pragma unroll
            for (int k = 0; k < kSub; ++k) to[k] = c.template next<1>(k < left);
        }
    }

    // 1. The states before every sub-chunk, every dt.
    __device__ __forceinline__ void walk_forward() {
        float h[1][kStates];
        load_before(0, h);
#pragma unroll 1
        for (int sub = 0; sub <= last; ++sub) {
            Raw<T, 1> raw[kSub], u[kSub];
            load_steps(in.dt_raw, sub, true, raw);
            load_steps(in.u, sub, sub < last, u);
            stage_rows(sub);
            sub_cuts = static_cast<uint32_t>(cuts >> (sub * kSub));
            if (sub > 0) keep_before(sub, h);
#pragma unroll
            for (int k = 0; k < kSub; ++k) {
                const int t = sub * kSub + k;
                const float dt = step_size(raw[k][0] + bias);
                dt_at(t) = dt;
                if (sub < last) advance(t, k, dt, u[k][0], h, h);
            }
        }
    }

    // u and the gradient of the output before the gate of the steps of a sub-chunk.
    __device__ __forceinline__ void prepare(int sub) const {
        Raw<T, 1> u[kSub], d_y[kSub], z[kSub];
        load_steps(in.u, sub, true, u);
        load_steps(p.d_y, sub, true, d_y);
        load_steps(in.z, sub, gate, z);
#pragma unroll
        for (int k = 0; k < kSub; ++k) {
            const float z_t = z[k][0], dy = active ? d_y[k][0] : 0.0f;
            u_at(k) = u[k][0];
            d_out_at(k) = gate ? dy * (z_t * logistic(z_t)) : dy;
        }
    }

    // 2. Repeats the states of a sub-chunk, then walks back. Leaves the output before the gate in dt_at, d_u
    // in u_at, d_dt in d_out_at, and sums over the channels of a warp in `sums`, (kSub, padded, 2).
    __device__ __forceinline__ void walk_back(int sub, float* sums) {
        sub_cuts = static_cast<uint32_t>(cuts >> (sub * kSub));
        float h[kSub][1][kStates], first[1][kStates];
        load_before(sub, first);
#pragma unroll
        for (int k = 0; k < kSub; ++k) {
            const int t = sub * kSub + k;
            advance(t, k, dt_at(t), u_at(k), k > 0 ? h[k > 0 ? k - 1 : 0] : first, h[k]);
        }
        float before[1][kStates];
#pragma unroll
        for (int k = kSub - 1; k >= 0; --k) {
            const int t = sub * kSub + k;
            if (t >= steps) {
                if (!kMatrix)
                    for (int e = lane; e < row_floats; e += kWarp) sums[k * row_floats + e] = 0.0f;
                continue;
            }
            if (k == 0) load_before(sub, before);
            step_back(t, k, h[k], k > 0 ? h[k > 0 ? k - 1 : 0] : before, sums + k * row_floats);
        }
    }

    __device__ __forceinline__ void step_back(int t, int k, const float (&h)[1][kStates],
                                              const float (&before)[1][kStates], float* sums) {
        const float dt = dt_at(t), u = u_at(k), d_out = d_out_at(k);
        const bool cut = sub_cuts >> k & 1;
        const float v = zoh ? u : dt * u, decay_dt = cut ? 0.0f : dt;
        // Sums over states: C h; g B (times the weight for zoh); what comes through the exponent; zoh's d_dt.
        float out = 0.0f, d_v = 0.0f, d_x = 0.0f, d_weights = 0.0f;
        const float* const row = row_at(t);
        float* const turn = shared + part.turn + warp * 2 * kStates * (kWarp + 1) + lane;
        GroupSums of_C, of_B;
#pragma unroll
        for (int q = 0; q < kStates; q += 4) {
            float B[4], C[4], d_C[4], d_B[4];
            load<4>(row + q, B);
            load<4>(row + padded + q, C);
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int n = q + j;
                const float x2 = dt * A2[n], a = decay_of<T>(x2);
                g[0][n] = fmaf(d_out, C[j], g[0][n]);
                out = fmaf(C[j], h[0][n], out);
                d_C[j] = d_out * h[0][n];
                if (zoh) {
                    const float weight = zoh_weight(dt, x2, a, A2[n]), gB = g[0][n] * B[j];
                    d_B[j] = g[0][n] * weight * v;
                    d_v = fmaf(gB, weight, d_v);
                    d_weights = fmaf(gB * v, a, d_weights);
                    d_A[n] = fmaf(gB * v, zoh_weight_slope(dt, x2, a, weight, A2[n]), d_A[n]);
                } else {
                    d_B[j] = g[0][n] * v;
                    d_v = fmaf(g[0][n], B[j], d_v);
                }
                g[0][n] *= a;
                const float d_exponent = g[0][n] * before[0][n];
                d_x = fmaf(d_exponent, A2[n], d_x);
                d_A[n] = fmaf(d_exponent, decay_dt, d_A[n]);
                if (!kMatrix) turn[n * (kWarp + 1)] = d_C[j], turn[(kStates + n) * (kWarp + 1)] = d_B[j];
            }
            if (kMatrix) {
                float columns[2];
                load<2>(shared + part.ones + (q / 4 * kWarp + lane) * 2, columns);
                of_C.add(d_C, columns), of_B.add(d_B, columns);
            }
        }
        // Selected, not multiplied: what lies before the start may be NaN.
        if (cut) d_x = 0.0f;
        zero_if(cut, g);
        if (lanes_log2 > 0) {
            out = sum_over_states(out, lanes_log2);
            d_v = sum_over_states(d_v, lanes_log2);
            d_x = sum_over_states(d_x, lanes_log2);
            if (zoh) d_weights = sum_over_states(d_weights, lanes_log2);
        }
        dt_at(t) = fmaf(skip, u, out);
        u_at(k) = fmaf(skip, d_out, zoh ? d_v : d_v * dt);
        d_out_at(k) = fmaf(d_x, kLn2, zoh ? d_weights : d_v * u);
        d_skip = fmaf(d_out, u, d_skip);
        kMatrix ? put_sums(of_C.c, of_B.c, sums) : add_turned(sums);
    }

    // c[0], c[1], c[2], c[3] of the lanes of pair i are parts of states 4 i, 4 i + 2, 4 i + 1, 4 i + 3.
    __device__ __forceinline__ void put_sums(const float (&C)[4], const float (&B)[4], float* sums) const {
        const int group = lane / 4, i = group / 2;
        const float sum = add_groups({C[0], B[0], C[1], B[1], C[2], B[2], C[3], B[3]}, lane);
        const int state = 4 * (lane % 4) + (i % 2) * 2 + i / 2;
        sums[state * 2 + group % 2] = sum;
    }
    // Lane i < 16 adds d_C of state i of each block of 16, lane 16 + i d_B.
    __device__ __forceinline__ void add_turned(float* sums) const {
        const float* const turn = shared + part.turn + warp * 2 * kStates * (kWarp + 1) + lane * (kWarp + 1);
        const int in_warp = kWarp >> lanes_log2;
        __syncwarp();
        for (int block = 0; block < 1 << lanes_log2; ++block) {
            float sum = 0.0f;
            for (int i = 0; i < in_warp; ++i) sum += turn[block * in_warp + i];
            sums[(block * kStates + lane % kStates) * 2 + lane / kStates] = sum;
        }
        __syncwarp();
    }

    // Sums of a sub-chunk over the warps of the block, to memory.
    __device__ __forceinline__ void add_warps(int sub, const float* partial) const {
        float* const to =
            p.sums +
            ((static_cast<int64_t>(blockIdx.y) * in.n_batch + at.b) * in.L + t0 + sub * kSub) * 2 * in.N;
        const int log2 = 4 + lanes_log2, warps = threads / kWarp,
                  valid = min(kSub, steps - sub * kSub) << log2;
        for (int e = tid; e < valid; e += threads) {
            const int k = e >> log2, n = e & (padded - 1);
            float sum[2] = {};
#pragma unroll 4
            for (int w = 0; w < warps; ++w) {
                float two[2];
                load<2>(partial + w * kSub * row_floats + 2 * e, two);
                sum[0] += two[0], sum[1] += two[1];
            }
            if (n < in.N) store<2>(to + (k * in.N + n) * 2, sum);
        }
    }

    // What walk_back left in the column.
    __device__ __forceinline__ void finish(int sub) {
        const int64_t t = t0 + sub * kSub;
        T* d_u = &p.d_u(at.b, t, at.d);
        T* d_dt_raw = &p.d_dt_raw(at.b, t, at.d);
        T* d_z = gate ? &p.d_z(at.b, t, at.d) : nullptr;
        Raw<T, 1> raw[kSub], d_y[kSub], z[kSub];
        load_steps(in.dt_raw, sub, true, raw);
        load_steps(p.d_y, sub, gate, d_y);
        load_steps(in.z, sub, gate, z);
#pragma unroll
        for (int k = 0; k < kSub; ++k) {
            if (sub * kSub + k >= steps) break;
            const float d_raw = d_out_at(k) * logistic(raw[k][0] + bias), z_t = z[k][0], open = logistic(z_t);
            d_bias += d_raw;
            if (active && at.n0 == 0) {
                *d_u = from_float<T>(u_at(k));
                *d_dt_raw = from_float<T>(d_raw);
                if (gate)
                    *d_z = from_float<T>(d_y[k][0] * dt_at(sub * kSub + k) *
                                         (open * fmaf(z_t, 1.0f - open, 1.0f)));
            }
            d_u += p.d_u.stride[1], d_dt_raw += p.d_dt_raw.stride[1], d_z += p.d_z.stride[1];
        }
    }

    __device__ __forceinline__ void end() {
        if (p.d_h && at.segment == 0) at.plane(p.d_h).store(g);
        if (!active) return;
        float* const parameters =
            p.parameters + static_cast<int64_t>(at.row) * (in.N + 2) * in.n_channels + at.d;
#pragma unroll
        for (int n = 0; n < kStates; ++n)
            if (n < at.count)
                parameters[static_cast<int64_t>(at.n0 + n) * in.n_channels] = d_A[n] * A2[n] * kLn2;
        if (at.n0 != 0) return;
        parameters[static_cast<int64_t>(in.N) * in.n_channels] = d_skip;
        parameters[static_cast<int64_t>(in.N + 1) * in.n_channels] = d_bias;
    }
};

template <class T, bool kZoh, bool kMatrix, int kColumns>
__global__ __launch_bounds__(kColumns, kBackwardResident) void walk_backward(const Backward<T> p) {
    wait_for_previous();
    release_next();
    BackwardWalk<T, kZoh, kMatrix, kColumns> walk(p);
    for (int chunk = (walk.at.steps - 1) / kChunk; chunk >= 0; --chunk) {
        walk.begin_chunk(chunk);
        walk.walk_forward();
#pragma unroll 1
        for (int sub = walk.last; sub >= 0; --sub) {
            walk.stage_rows(sub);
            walk.prepare(sub);
            const int per_warp = kSub * walk.row_floats, warps = walk.threads / kWarp;
            float* const partial =
                walk.shared + walk.part.partial + (kMatrix ? sub % 2 * warps * per_warp : 0);
            walk.walk_back(sub, partial + walk.warp * per_warp);
            __syncthreads();
            walk.add_warps(sub, partial);
            walk.finish(sub);
            // Two of them in turn need one barrier.
            if (!kMatrix) __syncthreads();
        }
    }
    walk.end();
}

template <class T, bool kZoh, bool kMatrix, int kColumns = kMaxThreads>
void launch_walk_backward(cudaStream_t stream, const Backward<T>& p, const Lanes& lanes) {
    const dim3 grid(blocks(int64_t{p.in.n_batch} * p.in.segments), static_cast<unsigned>(lanes.groups));
    const size_t shared = BackwardShared(lanes.log2, lanes.threads, kMatrix, kColumns).bytes();
    launch_early(stream, grid, static_cast<unsigned>(lanes.threads), shared,
                 walk_backward<T, kZoh, kMatrix, kColumns>, p);
}

}  // namespace adder::cuda::scan
