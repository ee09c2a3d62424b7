// The scan forward, see scan_kernels.cuh for how time is cut.
//
// Mapping: a thread owns V neighbouring channels of one row and segment with 16 of their states (all of them up to
// N = 16) in registers and walks the segment's steps in order; lanes that share a channel add their parts of y by
// shuffles. V = 2 (bf16, rows aligned to pairs, enough channels to fill the GPU) halves the reads of B and C from shared
// memory, where a block keeps the rows of 32 steps as f32, twice: while one tile is used, each batch of steps brings the
// same rows of the next.
// Bytes: u, dt, z in, y out, 4 s B L D with s = 2 or 4, plus u, dt once more with more than one segment; chunk_states
// 4 B L D N / 64. Floor: one exponential for each (t, d, n) and pass at 16 a clock and multiprocessor, 5 issue slots each
// (4 in the pass that needs no y).
// Any B, L, D, N, strides. Order of sums over states: even and odd states apart, then blocks of 16.
// hT comes from the walk when there is one segment, else from the carry; neither depends on which outputs are wanted.
#include "kernels/scan/scan_kernels.cuh"

namespace adder::cuda {

namespace {

using namespace scan;

// Steps whose rows of B and C are in shared memory at a time.
constexpr int kTile = 32;
// Blocks of 128 threads with V = 2 that a multiprocessor holds, by registers.
constexpr int kResident = 4;
// Fewer segments than this many steps long cost more in the carry than they gain.
constexpr int64_t kLeastSteps = 32;
// Two passes against one.
constexpr double kSplitCost = 1.85;

template <class T>
struct Forward {
    Inputs<T> in;
    View<T, 3> y;                // may be absent
    View<float, 4> chunk_states;  // may be absent
    View<const float, 3> h0;     // may be absent
    View<float, 3> hT;           // with one segment
    float* ends;                 // with more than one, as in Carry
    float* sum_dt;
    bool ends_only;  // the first pass
};

template <class T, int V>
struct Steps {
    Pack<T, V> u, dt, z;
};

// V channels of one row at step `t` of the segment, zero past its end.
template <int V, class T>
__device__ __forceinline__ Pack<T, V> load_step(const T* p, int64_t stride, int t, bool valid) {
    Pack<T, V> zero{};
    return valid ? *reinterpret_cast<const Pack<T, V>*>(p + t * stride) : zero;
}

template <class T, int V, bool kZoh, bool kOut>
__device__ __forceinline__ void walk(const Forward<T>& p) {
    constexpr int kBatch = 4 / V;
    const Inputs<T>& in = p.in;
    const Place at(in, V);
    const bool active = at.d < in.n_channels;
    const Rows<T> rows(in, at.b, at.t0, 1);
    const int row_floats = rows.row_floats(), padded = row_floats / 2;
    float* const shared = dynamic_shared<float>();
    const int tid = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x), lane = tid % kWarp;

    float A2[V][kStates], h[V][kStates], bias[V], skip[V];
#pragma unroll
    for (int c = 0; c < V; ++c) {
        load_rates(in, at, at.d + c, A2[c]);
        bias[c] = active ? in.dt_bias(at.d + c) : 0.0f;
        skip[c] = active ? in.D(at.d + c) : 0.0f;
#pragma unroll
        for (int n = 0; n < kStates; ++n) {
            h[c][n] = 0.0f;
            if (!active || at.n0 + n >= in.N || p.ends_only) continue;
            if (p.ends)
                h[c][n] = p.ends[(static_cast<int64_t>(at.row) * in.N + at.n0 + n) * in.n_channels + at.d + c];
            else if (p.h0)
                h[c][n] = p.h0(at.b, at.d + c, at.n0 + n);
        }
    }
    const T* const u = &in.u(at.b, at.t0, at.d);
    const T* const dt_raw = &in.dt_raw(at.b, at.t0, at.d);
    const bool gate = kOut && in.z;
    const T* const z = gate ? &in.z(at.b, at.t0, at.d) : nullptr;
    T* const y = kOut ? &p.y(at.b, at.t0, at.d) : nullptr;
    const uint8_t* const start = in.start ? &in.start(at.b, at.t0) : nullptr;

    const auto load_steps = [&](int t) {
        const bool valid = active && t < at.steps;
        Steps<T, V> s;
        s.u = load_step<V>(u, in.u.stride[1], t, valid);
        s.dt = load_step<V>(dt_raw, in.dt_raw.stride[1], t, valid);
        if (kOut) s.z = load_step<V>(z, in.z.stride[1], t, valid && gate);
        return s;
    };
    const auto flag_at = [&](int t) { return start && t < at.steps && start[t] != 0; };

    const auto element = [&](int e, int t) { return !kOut && (e & padded) ? 0.0f : rows(e, t, at.steps); };
    for (int e = tid; e < kTile * row_floats; e += threads) shared[e] = element(e, 0);
    bool flag = flag_at(lane);
    Steps<T, V> ahead[kBatch];
#pragma unroll
    for (int k = 0; k < kBatch; ++k) ahead[k] = load_steps(k);
    LongSum total[V];
    bool cut = false;
    __syncthreads();

    for (int tile = 0; tile < at.steps; tile += kTile) {
        const uint32_t cuts = __ballot_sync(kFullWarp, flag);
        cut |= cuts != 0;
        flag = flag_at(tile + kTile + lane);
        const float* const now = shared + (tile / kTile % 2) * kTile * row_floats;
        float* const next = shared + ((tile / kTile + 1) % 2) * kTile * row_floats;
        const bool more = tile + kTile < at.steps;
        if (p.chunk_states && !p.ends_only && (at.t0 + tile) % kScanChunk == 0 && active) {
            float* const kept = &p.chunk_states(at.b, (at.t0 + tile) / kScanChunk, 0, at.d);
#pragma unroll
            for (int n = 0; n < kStates; ++n)
                if (at.n0 + n < in.N)
#pragma unroll
                    for (int c = 0; c < V; ++c) kept[(at.n0 + n) * p.chunk_states.stride[2] + c] = h[c][n];
        }
        float tile_dt[V] = {};
#pragma unroll 1
        for (int s = 0; s < kTile && tile + s < at.steps; s += kBatch) {
            Steps<T, V> batch[kBatch];
#pragma unroll
            for (int k = 0; k < kBatch; ++k) {
                batch[k] = ahead[k];
                ahead[k] = load_steps(tile + s + kBatch + k);
            }
            // The same rows of the next tile: the first of this thread's elements is on its way during the steps.
            float incoming = 0.0f;
            if (more && tid < kBatch * row_floats) incoming = element(tid, tile + kTile + s);
#pragma unroll
            for (int k = 0; k < kBatch; ++k) {
                const int t = tile + s + k;
                float dt[V], u_t[V], v[V], even[V], odd[V];
#pragma unroll
                for (int c = 0; c < V; ++c) {
                    u_t[c] = to_float(batch[k].u.item[c]);
                    dt[c] = t < at.steps ? step_size(to_float(batch[k].dt.item[c]) + bias[c]) : 0.0f;
                    v[c] = kZoh ? u_t[c] : dt[c] * u_t[c];
                    tile_dt[c] += dt[c];
                    even[c] = odd[c] = 0.0f;
                }
                if (cuts >> (s + k) & 1) {
#pragma unroll
                    for (int c = 0; c < V; ++c)
#pragma unroll
                        for (int n = 0; n < kStates; ++n) h[c][n] = 0.0f;
                }
                const float* const row = now + (s + k) * row_floats + at.n0;
#pragma unroll
                for (int q = 0; q < kStates; q += 4) {
                    float B[4], C[4] = {};
                    load<4>(row + q, B);
                    if (kOut) load<4>(row + padded + q, C);
#pragma unroll
                    for (int j = 0; j < 4; ++j)
#pragma unroll
                        for (int c = 0; c < V; ++c) {
                            const float x2 = dt[c] * A2[c][q + j], a = exp2_approx(x2);
                            const float weighted = kZoh ? v[c] * zoh_weight(dt[c], x2, a, A2[c][q + j]) : v[c];
                            h[c][q + j] = fmaf(a, h[c][q + j], weighted * B[j]);
                            if (kOut) {
                                float& sum = j % 2 == 0 ? even[c] : odd[c];
                                sum = fmaf(h[c][q + j], C[j], sum);
                            }
                        }
                }
                if (kOut) {
                    float out[V];
#pragma unroll
                    for (int c = 0; c < V; ++c) {
                        out[c] = fmaf(skip[c], u_t[c], sum_over_states(even[c] + odd[c], in.lanes_log2));
                        if (gate) {
                            const float z_t = to_float(batch[k].z.item[c]);
                            out[c] *= z_t * logistic(z_t);
                        }
                    }
                    if (active && at.n0 == 0 && t < at.steps) store(y + t * p.y.stride[1], out);
                }
            }
            if (more) {
                if (tid < kBatch * row_floats) next[s * row_floats + tid] = incoming;
                for (int e = tid + threads; e < kBatch * row_floats; e += threads)
                    next[s * row_floats + e] = element(e, tile + kTile + s);
            }
        }
#pragma unroll
        for (int c = 0; c < V; ++c) total[c].add(tile_dt[c]);
        __syncthreads();
    }

    if (!active) return;
#pragma unroll
    for (int c = 0; c < V; ++c) {
#pragma unroll
        for (int n = 0; n < kStates; ++n) {
            if (at.n0 + n >= in.N) continue;
            if (p.ends_only)
                p.ends[(static_cast<int64_t>(at.row) * in.N + at.n0 + n) * in.n_channels + at.d + c] = h[c][n];
            else if (!p.ends)
                p.hT(at.b, at.d + c, at.n0 + n) = h[c][n];
        }
        if (p.ends_only && at.n0 == 0)
            p.sum_dt[static_cast<int64_t>(at.row) * in.n_channels + at.d + c] = cut ? kCut : total[c].value();
    }
}

// Without y only the states are walked; their arithmetic is the same.
template <class T, int V, bool kZoh>
__global__ __launch_bounds__(kMaxThreads, V == 2 ? kResident : 5) void walk_forward(const Forward<T> p) {
    wait_for_previous();
    if (p.y && !p.ends_only)
        walk<T, V, kZoh, true>(p);
    else
        walk<T, V, kZoh, false>(p);
}

struct Plan {
    bool pairs;  // two channels a thread, where alignment allows
    TimeSplit split;
};

Plan plan_forward(const ScanArgs& a) {
    const int64_t B = a.u.size(0), L = a.u.size(1), D = a.u.size(2), N = a.A_log.size(1);
    const auto blocks_of = [&](int V) {
        const Lanes lanes(D, N, V);
        return std::max<int64_t>(B * lanes.groups * lanes.threads / kMaxThreads, 1);
    };
    Plan plan{false, {L, 1}};
    const bool can = N <= kStates && D % 2 == 0 && a.u.dtype == DType::bf16 && a.discretization == Discretization::euler;
    const TimeSplit single = split_time(L, blocks_of(1), kResident * kMultiprocessors, kLeastSteps, kSplitCost);
    const TimeSplit paired = split_time(L, blocks_of(2), kResident * kMultiprocessors, kLeastSteps, kSplitCost);
    plan.split = single;
    if (can && blocks_of(2) * paired.count >= 2 * kMultiprocessors) plan = {true, paired};
    return plan;
}

struct Scratch {
    int64_t ends, sums;  // floats

    Scratch(const ScanArgs& a, const TimeSplit& split) : ends(0), sums(0) {
        if (split.count == 1) return;
        sums = a.u.size(0) * split.count * a.u.size(2);
        ends = sums * a.A_log.size(1);
    }
};

template <class T, int V, bool kZoh>
void forward(Ctx& ctx, const ScanArgs& args, const ScanOut& out, const TimeSplit& split, float* scratch) {
    const Lanes lanes(args.u.size(2), args.A_log.size(1), V);
    const Scratch size(args, split);
    Forward<T> p;
    p.in = inputs_of<T>(args, lanes, split);
    p.y = out.y.as<T, 3>("[scan_forward] y");
    p.chunk_states = out.chunk_states.as<float, 4>("[scan_forward] chunk_states");
    p.h0 = args.h0.as<const float, 3>("[scan_forward] h0");
    p.hT = out.hT.as<float, 3>("[scan_forward] hT");
    p.ends = split.count > 1 ? scratch : nullptr;
    p.sum_dt = scratch + size.ends;
    p.ends_only = split.count > 1;
    const dim3 grid(blocks(args.u.size(0) * split.count), static_cast<unsigned>(lanes.groups));
    const auto threads = static_cast<unsigned>(lanes.threads);
    const size_t shared = size_t{2} * kTile * 2 * static_cast<size_t>(lanes.padded_states()) * sizeof(float);
    CUstream_st* const stream = ctx.gpu->stream();
    launch_early(stream, grid, threads, shared, walk_forward<T, V, kZoh>, p);
    if (split.count == 1) return;
    carry(stream, {p.ends, p.sum_dt, p.in.A_log, p.h0, p.hT, p.in.segments, p.in.n_channels, p.in.N, p.in.n_batch, false});
    p.ends_only = false;
    if (p.y || p.chunk_states) launch_early(stream, grid, threads, shared, walk_forward<T, V, kZoh>, p);
}

}  // namespace

int64_t scan_forward_scratch_bytes(const ScanArgs& args) {
    const Scratch size(args, plan_forward(args).split);
    return (size.ends + size.sums) * size_of(DType::f32);
}

void scan_forward(Ctx& ctx, const ScanArgs& args, const ScanOut& out, void* scratch) {
    const Plan plan = plan_forward(args);
    auto* const room = static_cast<float*>(scratch);
    const bool zoh = args.discretization == Discretization::zoh;
    if (args.u.dtype == DType::f32)
        return zoh ? forward<float, 1, true>(ctx, args, out, plan.split, room)
                   : forward<float, 1, false>(ctx, args, out, plan.split, room);
    if (zoh) return forward<bf16, 1, true>(ctx, args, out, plan.split, room);
    const auto even = [&](const TensorRef& t) { return vector_width(t.as<const bf16, 3>("[scan_forward]"), t.size(2)) >= 2; };
    const bool pairs = plan.pairs && even(args.u) && even(args.dt_raw) && (!args.z || even(args.z)) && (!out.y || even(out.y));
    return pairs ? forward<bf16, 2, false>(ctx, args, out, plan.split, room)
                 : forward<bf16, 1, false>(ctx, args, out, plan.split, room);
}

}  // namespace adder::cuda
