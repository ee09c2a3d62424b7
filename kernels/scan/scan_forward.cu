// The scan forward, see scan_kernels.cuh for how time is cut.
//
// Mapping: a thread owns V neighbouring channels of one row and segment with 16 of their states (all of them
// up to N = 16) in registers and walks the segment's steps in order; lanes that share a channel add their
// parts of y by shuffles. V = 2 (bf16, rows aligned to pairs, enough channels to fill the GPU) halves the
// reads of B and C from shared memory, where a block keeps the rows of 32 steps as f32, twice: while one tile
// is used, each batch of steps brings the same rows of the next.
//
// Bytes: u, dt, z in, y out, 4 s B L D with s = 2 or 4, and u, dt once more with more than one segment;
// chunk_states 4 B L D N / 64. Shared: 8 KiB a block for N <= 16, 128 KiB for N > 128, or 64 where the GPU does not
// have those.
// Floor: for each (t, d, n) and walk one exponential at 16 a clock and multiprocessor, and 5 issue slots (4
// in the walk without y); measured in the machine code with V = 2, 10.3 and 7.3 slots. Any B, L, D, N,
// strides. Order of sums over states: even and odd ones apart, then blocks of 16. hT comes from the walk when
// there is one segment, else from the carry; neither depends on which outputs are wanted.
#include "kernels/scan/scan_kernels.cuh"

namespace adder::cuda {

namespace {

using namespace scan;

// Steps whose rows of B and C are in shared memory at a time.
constexpr int kLongTile = 32;
// The same where a GPU has no room for two such tiles of more than 128 states.
constexpr int kShortTile = 16;
// Blocks of 128 threads with V = 2 that a multiprocessor holds, by registers.
constexpr int kResident = 4;
constexpr SplitCost kSplitCost{kResident * kMultiprocessors, 16, 0.55, 1.85};

template <class T>
struct Forward {
    Inputs<T> in;
    View<T, 3> y;                 // may be absent
    View<float, 4> chunk_states;  // may be absent
    View<const float, 3> h0;      // may be absent
    View<float, 3> hT;            // with one segment
    float* ends;                  // with more than one, as in Carry
    float* sum_dt;
    bool ends_only;  // the first pass
};

template <class T, int V>
struct Steps {
    Raw<T, V> u, dt, z;
};

// The body of the kernel. Longer than other functions: its parts share registers that stay for the whole
// walk.
template <class T, int V, bool kZoh, int kTile, bool kOut>
__device__ __forceinline__ void walk(const Forward<T>& p) {
    constexpr int kBatch = 4 / V;
    const Inputs<T>& in = p.in;
    const int lanes_log2 = V == 2 ? 0 : in.lanes_log2;
    const Place at(in, V, lanes_log2);
    const bool active = at.d < in.n_channels, gate = kOut && in.z;
    // One kernel with short tiles is for both discretizations.
    const bool zoh = kZoh && (kTile != kShortTile || in.zoh);
    const int padded = kStates << lanes_log2, row_floats = 2 * padded;
    float* const shared = dynamic_shared<float>();
    const int tid = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x), lane = tid % kWarp;

    float A2[V][kStates], h[V][kStates], bias[V], skip[V];
#pragma unroll
    for (int c = 0; c < V; ++c) {
        load_rates(in, at, at.d + c, A2[c]);
        bias[c] = active ? in.dt_bias(at.d + c) : 0.0f;
        skip[c] = active ? in.D(at.d + c) : 0.0f;
#pragma unroll
        for (int n = 0; n < kStates; ++n) h[c][n] = 0.0f;
    }
    if (p.ends && !p.ends_only)
        at.plane(p.ends, in.N, in.n_channels).load(h);
    else if (!p.ends)
        at.plane(p.h0).load(h);

    Cursor<T> u{&in.u(at.b, at.t0, at.d_read), in.u.stride[1]};
    Cursor<T> dt_raw{&in.dt_raw(at.b, at.t0, at.d_read), in.dt_raw.stride[1]};
    Cursor<T> z{gate ? &in.z(at.b, at.t0, at.d_read) : nullptr, in.z.stride[1]};
    T* y = kOut ? &p.y(at.b, at.t0, at.d) : nullptr;
    const auto load_steps = [&](int t) {
        const bool valid = t < at.steps;
        Steps<T, V> s;
        s.u = u.template next<V>(valid);
        s.dt = dt_raw.template next<V>(valid);
        if (kOut) s.z = z.template next<V>(valid && gate);
        return s;
    };
    const uint8_t* const start = in.start ? &in.start(at.b, at.t0) : nullptr;
    const auto flag_at = [&](int t) { return start && t < at.steps && start[t] != 0; };

    const Rows<T> rows(in, at.b, at.t0, 1, kOut);
    for (int e = tid; e < kTile * row_floats; e += threads) shared[e] = rows(e, 0, at.steps);
    RowCursor<T> incoming(rows, tid, kTile, kBatch);
    bool flag = flag_at(lane);
    Steps<T, V> ahead[kBatch];
#pragma unroll
    for (int k = 0; k < kBatch; ++k) ahead[k] = load_steps(k);
    LongSum total[V];
    bool any_cut = false;
    __syncthreads();

    for (int tile = 0; tile < at.steps; tile += kTile) {
        const uint32_t cuts = uniform_ballot(flag);
        any_cut |= cuts != 0;
        flag = flag_at(tile + kTile + lane);
        const float* row = shared + (tile / kTile % 2) * kTile * row_floats + at.n0;
        float* next = shared + ((tile / kTile + 1) % 2) * kTile * row_floats;
        if (p.chunk_states && !p.ends_only && (at.t0 + tile) % kScanChunk == 0) {
            float* const kept = &p.chunk_states(at.b, (at.t0 + tile) / kScanChunk, at.n0, at.d);
            StatePlane<float>{kept, p.chunk_states.stride[2], 1, at.count}.store(h);
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
            // The same rows of the next tile: the first of this thread's elements is on its way during the
            // steps.
            const float first = incoming.next(tile + kTile + s, at.steps);
#pragma unroll
            for (int k = 0; k < kBatch; ++k, row += row_floats) {
                const bool valid = tile + s + k < at.steps;
                float dt[V], u_t[V], v[V], even[V], odd[V];
#pragma unroll
                for (int c = 0; c < V; ++c) {
                    u_t[c] = batch[k].u[c];
                    dt[c] = valid ? step_size(batch[k].dt[c] + bias[c]) : 0.0f;
                    v[c] = zoh ? u_t[c] : dt[c] * u_t[c];
                    tile_dt[c] += dt[c];
                    even[c] = odd[c] = 0.0f;
                }
                zero_if(cuts >> (s + k) & 1, h);
#pragma unroll
                for (int q = 0; q < kStates; q += 4) {
                    float B[4], C[4] = {};
                    load<4>(row + q, B);
                    if (kOut) load<4>(row + padded + q, C);
#pragma unroll
                    for (int j = 0; j < 4; ++j)
#pragma unroll
                        for (int c = 0; c < V; ++c) {
                            const float x2 = dt[c] * A2[c][q + j], a = decay_of<T>(x2);
                            const float weighted =
                                zoh ? v[c] * zoh_weight(dt[c], x2, a, A2[c][q + j]) : v[c];
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
                        out[c] = fmaf(skip[c], u_t[c], sum_over_states(even[c] + odd[c], lanes_log2));
                        const float z_t = batch[k].z[c];
                        if (gate) out[c] *= z_t * logistic(z_t);
                    }
                    if (active && at.n0 == 0 && valid) store(y, out);
                    y += p.y.stride[1];
                }
            }
            incoming.put(first, next + s * row_floats, tile + kTile + s, at.steps);
        }
#pragma unroll
        for (int c = 0; c < V; ++c) total[c].add(tile_dt[c]);
        __syncthreads();
    }

    if (p.ends_only)
        at.plane(p.ends, in.N, in.n_channels).store(h);
    else if (!p.ends)
        at.plane(p.hT).store(h);
    if (p.ends_only && active && at.n0 == 0)
#pragma unroll
        for (int c = 0; c < V; ++c)
            p.sum_dt[static_cast<int64_t>(at.row) * in.n_channels + at.d + c] =
                any_cut ? kCut : total[c].value();
}

// Without y only the states are walked; their arithmetic is the same.
template <class T, int V, bool kZoh, int kTile>
__global__ __launch_bounds__(kMaxThreads, kResident) void walk_forward(const Forward<T> p) {
    wait_for_previous();
    release_next();
    if (p.y && !p.ends_only)
        walk<T, V, kZoh, kTile, true>(p);
    else
        walk<T, V, kZoh, kTile, false>(p);
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
    const bool can =
        N <= kStates && D % 2 == 0 && a.u.dtype == DType::bf16 && a.discretization == Discretization::euler;
    const TimeSplit single = split_time(L, blocks_of(1), kSplitCost);
    const TimeSplit paired = split_time(L, blocks_of(2), kSplitCost);
    plan.split = single;
    if (can && blocks_of(2) * paired.count >= 2 * kMultiprocessors) plan = {true, paired};
    return plan;
}

// The rows of B and C of two tiles.
size_t tiles_bytes(const Lanes& lanes, int tile) {
    return size_t{2} * static_cast<size_t>(tile) * 2 * static_cast<size_t>(lanes.padded_states()) * sizeof(float);
}

struct Scratch {
    int64_t ends, sums;  // floats

    Scratch(const ScanArgs& a, const TimeSplit& split) : ends(0), sums(0) {
        if (split.count == 1) return;
        sums = a.u.size(0) * split.count * a.u.size(2);
        ends = sums * a.A_log.size(1);
    }
};

template <class T, int V, bool kZoh, int kTile = kLongTile>
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
    const size_t shared = tiles_bytes(lanes, kTile);
    CUstream_st* const stream = ctx.gpu->stream();
    launch_early(stream, grid, threads, shared, walk_forward<T, V, kZoh, kTile>, p);
    if (split.count == 1) return;
    carry(stream, {p.ends, p.sum_dt, p.in.A_log, p.h0, p.hT, p.in.segments, p.in.n_channels, p.in.N,
                   p.in.n_batch, false});
    p.ends_only = false;
    if (p.y || p.chunk_states) launch_early(stream, grid, threads, shared, walk_forward<T, V, kZoh, kTile>, p);
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
    if (tiles_bytes(Lanes(args.u.size(2), args.A_log.size(1), 1), kLongTile) > most_shared_bytes())
        return args.u.dtype == DType::f32 ? forward<float, 1, true, kShortTile>(ctx, args, out, plan.split, room)
                                          : forward<bf16, 1, true, kShortTile>(ctx, args, out, plan.split, room);
    if (args.u.dtype == DType::f32)
        return zoh ? forward<float, 1, true>(ctx, args, out, plan.split, room)
                   : forward<float, 1, false>(ctx, args, out, plan.split, room);
    if (zoh) return forward<bf16, 1, true>(ctx, args, out, plan.split, room);
    const auto even = [&](const TensorRef& t) {
        return vector_width(t.as<const bf16, 3>("[scan_forward]"), t.size(2)) >= 2;
    };
    const bool pairs = plan.pairs && even(args.u) && even(args.dt_raw) && (!args.z || even(args.z)) &&
                       (!out.y || even(out.y));
    return pairs ? forward<bf16, 2, false>(ctx, args, out, plan.split, room)
                 : forward<bf16, 1, false>(ctx, args, out, plan.split, room);
}

}  // namespace adder::cuda
