// The scan backward, see scan_kernels.cuh for how time is cut.
//
// Mapping: a thread owns one channel of one row and segment with 16 of its states and walks the segment's chunks of 64
// steps from the last to the first. In a chunk it
//   1. repeats the states from chunk_states up to the last 8 steps, keeps those before every 8 steps and all dt in shared
//      memory, each thread in its own column;
//   2. takes 8 steps at a time from the end: repeats their states into registers (8 x 16), then walks back.
// With G the gradient of the state: G[t] = C[t] d_out[t] + a[t + 1] G[t + 1]; a is computed again on the way back.
// d_B and d_C are sums over channels of G v and d_out h for every (t, n): the 32 values of a step are summed over the
// lanes of a warp, over the warps of the block in shared memory, over blocks by add_rows, always in one order. bf16
// storage sums over lanes by tensor cores: each value passes through tf32 twice (2^-10 each, against 2^-8 of the storage
// type); f32 storage and N > 16 turn the values in shared memory and add in f32.
// Bytes: u, dt, d_y, z in, d_u, d_dt, d_z out, 7 s B L D with s = 2 or 4, u and dt twice from L2; chunk_states 4 B L D N / 64;
// sums 16 N B L groups. Floor: 3 exponentials for each (t, d, n) (4 with more than one segment) at 16 a clock and
// multiprocessor; about 24 (28) issue slots.
// Any B, L, D, N, strides. Steps past the end of a row are skipped.
#include "kernels/scan/scan_backward.cuh"

namespace adder::cuda {

namespace {

using namespace scan;

// Blocks of 128 threads that a multiprocessor holds, by registers and shared memory.
constexpr int kResident = 2;
constexpr double kSplitCost = 1.3;

template <class T>
struct Step {
    T u, dt_raw, d_y, z;
};

// Sums over the lanes of a warp of a step's values, one a lane for each of 16 states. With A a matrix of zeros and ones,
// mma adds over the four lanes of a pair index; the second mma adds over the eight groups. Only values of one step meet
// in an mma: a NaN times zero is a NaN, and it must not reach the steps of another packed member.
struct MatrixSums {
    float one[8];  // one[m] = 1 in the lanes of group m

    __device__ explicit MatrixSums(int lane) {
#pragma unroll
        for (int m = 0; m < 8; ++m) one[m] = lane / 4 == m ? 1.0f : 0.0f;
    }
    // sum[0] is that of state lane / 4, sum[1] that of lane / 4 + 8.
    __device__ __forceinline__ void add(const float (&value)[kStates], float (&sum)[2]) const {
        float c[4] = {}, d[4] = {};
#pragma unroll
        for (int m = 0; m < 8; ++m) {
            const float a[4] = {one[m], 0.0f, 0.0f, one[m]}, b[2] = {value[m], value[m + 8]};
            mma_16x8x8_tf32(c, a, b);
        }
        const float a[4] = {c[0], c[2], c[1], c[3]}, b[2] = {1.0f, 1.0f};
        mma_16x8x8_tf32(d, a, b);
        sum[0] = d[0], sum[1] = d[2];
    }
};

template <class T, bool kZoh, bool kMatrix>
__global__ __launch_bounds__(kMaxThreads, kResident) void walk_backward(const Backward<T> p) {
    wait_for_previous();
    const Inputs<T>& in = p.in;
    const Place at(in, 1);
    const bool active = at.d < in.n_channels, gate = static_cast<bool>(in.z);
    const int tid = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x), lane = tid % kWarp, warp = tid / kWarp;
    const BackwardShared part(in.lanes_log2, threads, kMatrix);
    float* const shared = dynamic_shared<float>();
    float* const dt_of = shared + part.dt + tid;
    float* const states = shared + part.states + 4 * tid;
    const int padded = kStates << in.lanes_log2, row_floats = 2 * padded;

    float A2[kStates], g[1][kStates], d_A[kStates];
    load_rates(in, at, at.d, A2);
    const float bias = active ? in.dt_bias(at.d) : 0.0f, skip = active ? in.D(at.d) : 0.0f;
    (p.ends ? at.plane(p.ends, in.N, in.n_channels) : at.plane(p.d_h)).load(g);
#pragma unroll
    for (int n = 0; n < kStates; ++n) d_A[n] = 0.0f;
    float d_skip = 0.0f, d_bias = 0.0f;
    const MatrixSums matrix(lane);

    for (int chunk = (at.steps - 1) / kChunk; chunk >= 0; --chunk) {
        const int64_t t0 = at.t0 + chunk * kChunk;
        const int steps = min(kChunk, at.steps - chunk * kChunk), last = (steps - 1) / kSub;
        const T* const u = &in.u(at.b, t0, at.d);
        const T* const dt_raw = &in.dt_raw(at.b, t0, at.d);
        const T* const d_y = &p.d_y(at.b, t0, at.d);
        const T* const z = gate ? &in.z(at.b, t0, at.d) : nullptr;
        const Rows<T> rows(in, at.b, t0, 1, true);
        // Rows of the stage that sub-chunk `sub` lies in.
        int staged = -1;
        const auto stage_rows = [&](int sub) {
            const int stage = sub * kSub / part.stage;
            if (stage == staged) return;
            staged = stage;
            __syncthreads();
            for (int e = tid; e < part.stage * row_floats; e += threads)
                shared[part.rows + e] = rows(e, stage * part.stage, steps);
            __syncthreads();
        };
        const auto row_of = [&](int t) { return shared + part.rows + t % part.stage * row_floats + at.n0; };
        uint64_t cuts = 0;
        if (in.start) {
            const uint8_t* const start = &in.start(at.b, t0);
            cuts = __ballot_sync(kFullWarp, lane < steps && start[min(lane, steps - 1)] != 0);
            const bool upper = kWarp + lane < steps && start[min(kWarp + lane, steps - 1)] != 0;
            cuts |= static_cast<uint64_t>(__ballot_sync(kFullWarp, upper)) << kWarp;
        }

        float h[1][kStates];
        StatePlane<const float>{&p.chunk_states(at.b, t0 / kChunk, at.n0, at.d), p.chunk_states.stride[2], 1, at.count}.load(h);
        const auto advance = [&](int t, float dt, float u_t) {
            const float v = kZoh && in.zoh ? u_t : dt * u_t;
            zero_if(cuts >> t & 1, h);
            const float* const row = row_of(t);
#pragma unroll
            for (int q = 0; q < kStates; q += 4) {
                float B[4];
                load<4>(row + q, B);
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    const float x2 = dt * A2[q + j], a = exp2_approx(x2);
                    const float weighted = kZoh && in.zoh ? v * zoh_weight(dt, x2, a, A2[q + j]) : v;
                    h[0][q + j] = fmaf(a, h[0][q + j], weighted * B[j]);
                }
            }
        };

        // 1. States before every sub-chunk but the last, which stay in h; every dt.
#pragma unroll 1
        for (int sub = 0; sub <= last; ++sub) {
            T raw[kSub], u_of[kSub];
#pragma unroll
            for (int k = 0; k < kSub; ++k) {
                const int t = sub * kSub + k;
                const bool valid = active && t < steps;
                raw[k] = valid ? dt_raw[t * in.dt_raw.stride[1]] : T{};
                u_of[k] = valid && sub < last ? u[t * in.u.stride[1]] : T{};
            }
            stage_rows(sub);
            if (sub < last) {
#pragma unroll
                for (int q = 0; q < kStates; q += 4)
                    store<4>(states + (sub * kStates + q) * threads, {h[0][q], h[0][q + 1], h[0][q + 2], h[0][q + 3]});
            }
#pragma unroll
            for (int k = 0; k < kSub; ++k) {
                const int t = sub * kSub + k;
                const float dt = step_size(to_float(raw[k]) + bias);
                dt_of[t * threads] = dt;
                if (sub < last) advance(t, dt, to_float(u_of[k]));
            }
        }

        // 2. Eight steps at a time, from the end.
#pragma unroll 1
        for (int sub = last; sub >= 0; --sub) {
            stage_rows(sub);
            const auto load_before = [&] {
                if (sub == last) return;
#pragma unroll
                for (int q = 0; q < kStates; q += 4) {
                    float four[4];
                    load<4>(states + (sub * kStates + q) * threads, four);
#pragma unroll
                    for (int j = 0; j < 4; ++j) h[0][q + j] = four[j];
                }
            };
            load_before();
            float before[kStates], after[kSub][kStates], u_of[kSub];
#pragma unroll
            for (int n = 0; n < kStates; ++n) before[n] = h[0][n];
#pragma unroll
            for (int k = 0; k < kSub; ++k) {
                const int t = sub * kSub + k;
                u_of[k] = active && t < steps ? to_float(u[t * in.u.stride[1]]) : 0.0f;
            }
#pragma unroll
            for (int k = 0; k < kSub; ++k) {
                const int t = sub * kSub + k;
                if (t < steps) advance(t, dt_of[t * threads], u_of[k]);
#pragma unroll
                for (int n = 0; n < kStates; ++n) after[k][n] = h[0][n];
            }

            float* const partial = shared + part.partial + (kMatrix ? sub % 2 : 0) * (threads / kWarp) * kSub * row_floats;
            float* const mine = partial + warp * kSub * row_floats;
#pragma unroll
            for (int k = kSub - 1; k >= 0; --k) {
                const int t = sub * kSub + k;
                float of_C[kStates], of_B[kStates];
                if (t < steps) {
                    const float dt = dt_of[t * threads], u_t = u_of[k];
                    const float raw = active ? to_float(dt_raw[t * in.dt_raw.stride[1]]) + bias : 0.0f;
                    const float dy = active ? to_float(d_y[t * p.d_y.stride[1]]) : 0.0f;
                    const float z_t = active && gate ? to_float(z[t * in.z.stride[1]]) : 0.0f;
                    const float open = logistic(z_t), d_out = gate ? dy * z_t * open : dy;
                    const bool cut = cuts >> t & 1;
                    const bool zoh = kZoh && in.zoh;
                    const float v = zoh ? u_t : dt * u_t, decay_dt = cut ? 0.0f : dt;
                    // Sums over states: C h; g B (times the weight for zoh); what comes through the exponent; zoh's d_dt.
                    float out = 0.0f, d_v = 0.0f, d_x = 0.0f, d_weights = 0.0f;
                    const float* const row = row_of(t);
#pragma unroll
                    for (int q = 0; q < kStates; q += 4) {
                        float B[4], C[4];
                        load<4>(row + q, B);
                        load<4>(row + padded + q, C);
#pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            const int n = q + j;
                            const float h_t = after[k][n], h_before = k > 0 ? after[k > 0 ? k - 1 : 0][n] : before[n];
                            const float x2 = dt * A2[n], a = exp2_approx(x2);
                            g[0][n] = fmaf(d_out, C[j], g[0][n]);
                            out = fmaf(C[j], h_t, out);
                            of_C[n] = d_out * h_t;
                            if (zoh) {
                                const float weight = zoh_weight(dt, x2, a, A2[n]), gB = g[0][n] * B[j];
                                of_B[n] = g[0][n] * weight * v;
                                d_v = fmaf(gB, weight, d_v);
                                d_weights = fmaf(gB * v, a, d_weights);
                                d_A[n] = fmaf(gB * v, zoh_weight_slope(dt, x2, a, weight, A2[n]), d_A[n]);
                            } else {
                                of_B[n] = g[0][n] * v;
                                d_v = fmaf(g[0][n], B[j], d_v);
                            }
                            g[0][n] *= a;
                            const float d_exponent = g[0][n] * h_before;
                            d_x = fmaf(d_exponent, A2[n], d_x);
                            d_A[n] = fmaf(d_exponent, decay_dt, d_A[n]);
                        }
                    }
                    // Selected, not multiplied: what lies before the start may be NaN.
                    if (cut) d_x = 0.0f;
                    zero_if(cut, g);
                    if (in.lanes_log2 > 0) {
                        out = sum_over_states(out, in.lanes_log2);
                        d_v = sum_over_states(d_v, in.lanes_log2);
                        d_x = sum_over_states(d_x, in.lanes_log2);
                        if (zoh) d_weights = sum_over_states(d_weights, in.lanes_log2);
                    }
                    const float d_dt = fmaf(d_x, kLn2, zoh ? d_weights : d_v * u_t), d_raw = d_dt * logistic(raw);
                    d_skip = fmaf(d_out, u_t, d_skip);
                    d_bias += d_raw;
                    if (active && at.n0 == 0) {
                        p.d_u(at.b, t0 + t, at.d) = from_float<T>(fmaf(skip, d_out, zoh ? d_v : d_v * dt));
                        p.d_dt_raw(at.b, t0 + t, at.d) = from_float<T>(d_raw);
                        if (gate)
                            p.d_z(at.b, t0 + t, at.d) =
                                from_float<T>(dy * fmaf(skip, u_t, out) * open * fmaf(z_t, 1.0f - open, 1.0f));
                    }
                } else {
#pragma unroll
                    for (int n = 0; n < kStates; ++n) of_C[n] = of_B[n] = 0.0f;
                }
                if constexpr (kMatrix) {
                    float d_C[2], d_B[2];
                    matrix.add(of_C, d_C);
                    matrix.add(of_B, d_B);
                    if (lane % 4 == k % 4) {
                        store<2>(mine + (k * kStates + lane / 4) * 2, {d_C[0], d_B[0]});
                        store<2>(mine + (k * kStates + lane / 4 + 8) * 2, {d_C[1], d_B[1]});
                    }
                } else {
                    // Turned: lane i < 16 adds d_C of state i, lane 16 + i d_B, over the channels of each block of states.
                    float* const turn = shared + part.turn + warp * 2 * kStates * (kWarp + 1);
#pragma unroll
                    for (int n = 0; n < kStates; ++n) {
                        turn[n * (kWarp + 1) + lane] = of_C[n];
                        turn[(kStates + n) * (kWarp + 1) + lane] = of_B[n];
                    }
                    __syncwarp();
                    const int in_warp = kWarp >> in.lanes_log2;
                    for (int block = 0; block < 1 << in.lanes_log2; ++block) {
                        float sum = 0.0f;
                        for (int i = 0; i < in_warp; ++i) sum += turn[lane * (kWarp + 1) + block * in_warp + i];
                        mine[(k * padded + block * kStates + lane % kStates) * 2 + lane / kStates] = sum;
                    }
                    __syncwarp();
                }
            }
            __syncthreads();
            float* const sums = p.sums + ((static_cast<int64_t>(blockIdx.y) * in.n_batch + at.b) * in.L + t0) * 2 * in.N;
            for (int e = tid; e < kSub * row_floats; e += threads) {
                const int t = sub * kSub + e / row_floats, i = e % row_floats;
                if (t >= steps || i >= 2 * in.N) continue;
                float sum = 0.0f;
                for (int w = 0; w < threads / kWarp; ++w) sum += partial[w * kSub * row_floats + e];
                sums[t * 2 * in.N + i] = sum;
            }
            if (!kMatrix) __syncthreads();
        }
    }

    if (p.d_h && at.segment == 0) at.plane(p.d_h).store(g);
    if (!active) return;
    float* const parameters = p.parameters + static_cast<int64_t>(at.row) * (in.N + 2) * in.n_channels + at.d;
#pragma unroll
    for (int n = 0; n < kStates; ++n)
        if (n < at.count) parameters[static_cast<int64_t>(at.n0 + n) * in.n_channels] = d_A[n] * A2[n] * kLn2;
    if (at.n0 == 0) {
        parameters[static_cast<int64_t>(in.N) * in.n_channels] = d_skip;
        parameters[static_cast<int64_t>(in.N + 1) * in.n_channels] = d_bias;
    }
}

Lanes lanes_of(const ScanArgs& a) { return Lanes(a.u.size(2), a.A_log.size(1), 1); }

TimeSplit plan_backward(const ScanArgs& a) {
    const Lanes lanes = lanes_of(a);
    const int64_t n = std::max<int64_t>(a.u.size(0) * lanes.groups * lanes.threads / kMaxThreads, 1);
    return split_time(a.u.size(1), n, kResident * kMultiprocessors, kScanChunk, kSplitCost);
}

// Floats.
struct Scratch {
    int64_t ends, sum_dt, sums, parameters;

    Scratch(const ScanArgs& a, const TimeSplit& split) : ends(0), sum_dt(0) {
        const int64_t B = a.u.size(0), L = a.u.size(1), D = a.u.size(2), N = a.A_log.size(1);
        if (split.count > 1) sum_dt = B * split.count * D, ends = sum_dt * N;
        sums = lanes_of(a).groups * B * L * 2 * N;
        parameters = B * split.count * (N + 2) * D;
    }
};

template <class T, bool kZoh, bool kMatrix>
void backward(Ctx& ctx, const ScanArgs& args, const TensorRef& chunk_states, const ScanGrads& grads, float* scratch) {
    const Lanes lanes = lanes_of(args);
    const TimeSplit split = plan_backward(args);
    const Scratch size(args, split);
    Backward<T> p;
    p.in = inputs_of<T>(args, lanes, split);
    p.chunk_states = chunk_states.as<const float, 4>("[scan_backward] chunk_states");
    p.d_y = grads.d_y.as<const T, 3>("[scan_backward] d_y");
    p.d_u = grads.d_u.as<T, 3>("[scan_backward] d_u");
    p.d_dt_raw = grads.d_dt_raw.as<T, 3>("[scan_backward] d_dt_raw");
    p.d_z = grads.d_z.as<T, 3>("[scan_backward] d_z");
    p.d_h = grads.d_h.as<float, 3>("[scan_backward] d_h");
    p.sums = scratch;
    p.parameters = p.sums + size.sums;
    p.ends = split.count > 1 ? p.parameters + size.parameters : nullptr;
    p.sum_dt = p.parameters + size.parameters + size.ends;
    CUstream_st* const stream = ctx.gpu->stream();
    const Inputs<T>& in = p.in;
    if (split.count > 1) {
        walk_gradient_ends(stream, p, lanes);
        View<const float, 3> first;
        if (p.d_h) first = grads.d_h.as<const float, 3>("[scan_backward] d_h");
        carry(stream, {p.ends, p.sum_dt, in.A_log, first, {}, in.segments, in.n_channels, in.N, in.n_batch, true});
    }
    const dim3 grid(blocks(args.u.size(0) * split.count), static_cast<unsigned>(lanes.groups));
    const size_t shared = sizeof(float) * static_cast<size_t>(BackwardShared(lanes.log2, lanes.threads, kMatrix).end);
    launch_early(stream, grid, static_cast<unsigned>(lanes.threads), shared, walk_backward<T, kZoh, kMatrix>, p);
    RowSums rows{p.sums, grads.d_B.data, grads.d_C.data, {}, {}, in.L, in.n_batch * in.L, lanes.groups, in.N, args.u.dtype};
    for (int r = 0; r < 2; ++r)
        rows.B_stride[r] = grads.d_B.stride[static_cast<size_t>(r)], rows.C_stride[r] = grads.d_C.stride[static_cast<size_t>(r)];
    add_rows(stream, rows);
    add_parameters(stream, {p.parameters, grads.d_A_log.as<float, 2>("[scan_backward] d_A_log"),
                            grads.d_D.as<float, 1>("[scan_backward] d_D"), grads.d_dt_bias.as<float, 1>("[scan_backward] d_dt_bias"),
                            in.n_batch * in.segments, in.N, in.n_channels});
}

}  // namespace

int64_t scan_backward_scratch_bytes(const ScanArgs& args) {
    const Scratch size(args, plan_backward(args));
    return (size.ends + size.sum_dt + size.sums + size.parameters) * size_of(DType::f32);
}

void scan_backward(Ctx& ctx, const ScanArgs& args, const TensorRef& chunk_states, const ScanGrads& grads, void* scratch) {
    auto* const room = static_cast<float*>(scratch);
    const bool zoh = args.discretization == Discretization::zoh;
    if (args.u.dtype == DType::f32)
        return zoh ? backward<float, true, false>(ctx, args, chunk_states, grads, room)
                   : backward<float, false, false>(ctx, args, chunk_states, grads, room);
    if (zoh || args.A_log.size(1) > kStates) return backward<bf16, true, false>(ctx, args, chunk_states, grads, room);
    backward<bf16, false, true>(ctx, args, chunk_states, grads, room);
}

}  // namespace adder::cuda
