#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/scan/scan_cpu_backward.cc"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "core/ceil_div.h"
#include "kernels/scan/scan_cpu.h"
#include "kernels/scan/scan_walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder::cpu::HWY_NAMESPACE {
namespace {

// Mapping: as forward, but chunks from the last to the first. A task repeats the states of NB states and one
// block of channels over a chunk into its stack (a and h, in L1 and L2), then walks the chunk back. dB and dC
// are summed over the blocks of the group lane by lane and over the lanes at the end of a chunk; the groups
// are added in order afterwards.
struct Backward {
    View<const float, 3> u, dt_raw, B, C, z;
    View<const float, 2> A_log;
    View<const float, 1> D, dt_bias;
    View<const uint8_t, 2> start;
    View<const float, 4> chunk_states;
    View<const float, 3> d_y, d_hT;
    View<float, 3> d_u, d_dt_raw, d_z, d_B, d_C, d_h;
    View<float, 2> d_A_log;
    View<float, 1> d_D, d_dt_bias;
    bool zoh;
    ScanSizes sizes;
    ScanBackwardLayout layout;
    float* scratch;

    Backward(const ScanArgs& a, const TensorRef& states, const ScanGrads& g, float* memory)
        : u(a.u.as<const float, 3>("u")),
          dt_raw(a.dt_raw.as<const float, 3>("dt_raw")),
          B(a.B.as<const float, 3>("B")),
          C(a.C.as<const float, 3>("C")),
          z(a.z.as<const float, 3>("z")),
          A_log(a.A_log.as<const float, 2>("A_log")),
          D(a.D.as<const float, 1>("D")),
          dt_bias(a.dt_bias.as<const float, 1>("dt_bias")),
          start(a.start.as<const uint8_t, 2>("start")),
          chunk_states(states.as<const float, 4>("chunk_states")),
          d_y(g.d_y.as<const float, 3>("d_y")),
          d_hT(g.d_h.as<const float, 3>("d_h")),
          d_u(g.d_u.as<float, 3>("d_u")),
          d_dt_raw(g.d_dt_raw.as<float, 3>("d_dt_raw")),
          d_z(g.d_z.as<float, 3>("d_z")),
          d_B(g.d_B.as<float, 3>("d_B")),
          d_C(g.d_C.as<float, 3>("d_C")),
          d_h(g.d_h.as<float, 3>("d_h")),
          d_A_log(g.d_A_log.as<float, 2>("d_A_log")),
          d_D(g.d_D.as<float, 1>("d_D")),
          d_dt_bias(g.d_dt_bias.as<float, 1>("d_dt_bias")),
          zoh(a.discretization == Discretization::zoh),
          sizes{a.u.size(0), a.u.size(1), a.u.size(2), a.A_log.size(1)},
          layout(sizes),
          scratch(memory) {}

    int64_t tasks() const { return sizes.B * layout.groups; }
    float* partial(int64_t task) const {
        return scratch + tasks() * layout.task_floats + task * layout.partial_floats;
    }
};

// The part of a task's scratch that lives through all spans.
struct TaskState {
    float *A2, *inv_A2, *g, *d_A, *d_D, *d_dt_bias;

    TaskState(const Backward& p, int64_t task) {
        const int64_t block = p.sizes.N * p.layout.W;
        A2 = p.scratch + task * p.layout.task_floats;
        inv_A2 = A2 + block;
        g = inv_A2 + block;
        d_A = g + block;
        d_D = d_A + block;
        d_dt_bias = d_D + p.layout.W;
    }
};

// The panels of a group, on the stack of a task.
struct PanelMemory {
    static constexpr int64_t kSize = kScanChunk * kScanMaxGroupWidth;
    HWY_ALIGN float dt[kSize], v[kSize], d_out[kSize], out[kSize], d_v[kSize], d_dt[kSize];

    // The panels of the block that begins at channel i of the group.
    Panels at(int64_t i) {
        const int64_t from = i * kScanChunk;
        return {dt + from, v + from, d_out + from, out + from, d_v + from, d_dt + from};
    }
};

// One chunk of one group.
struct ChunkTask {
    const Backward& f;
    const TaskState& state;
    int64_t b, d0, count, t0;
    Chunk c;
    float *d_B, *d_C;  // (T, N) of this group
};

template <bool kZoh>
void fill_panels(const ChunkTask& k, int64_t i, const Panels& p) {
    const Backward& f = k.f;
    const int64_t d0 = k.d0 + i, count = std::min(lanes(), k.count - i), step = lanes();
    const V bias = load_part(&f.dt_bias(d0), count), skip = load_part(&f.D(d0), count);
    for (int64_t t = 0; t < k.c.T; ++t) {
        const int64_t time = k.t0 + t;
        if (const int64_t ahead = time - kScanChunk; ahead >= 0) {
            hwy::Prefetch(&f.u(k.b, ahead, d0));
            hwy::Prefetch(&f.dt_raw(k.b, ahead, d0));
            hwy::Prefetch(&f.d_y(k.b, ahead, d0));
            if (f.z) hwy::Prefetch(&f.z(k.b, ahead, d0));
        }
        const V u = load_part(&f.u(k.b, time, d0), count);
        V dt, v, d_out = load_part(&f.d_y(k.b, time, d0), count);
        step_inputs<kZoh>(load_part(&f.dt_raw(k.b, time, d0), count), bias, u, dt, v);
        if (f.z) {
            d_out = hn::Mul(d_out, gate(load_part(&f.z(k.b, time, d0), count)));
            hn::Store(hn::Mul(skip, u), Tag(), p.out + t * step);
        }
        hn::Store(dt, Tag(), p.dt + t * step);
        hn::Store(v, Tag(), p.v + t * step);
        hn::Store(d_out, Tag(), p.d_out + t * step);
        hn::Store(hn::Zero(Tag()), Tag(), p.d_v + t * step);
        hn::Store(hn::Zero(Tag()), Tag(), p.d_dt + t * step);
    }
}

// From the panels to the gradients of the activations and of the parameters without a state dimension.
template <bool kZoh>
void drain_panels(const ChunkTask& k, int64_t i, const Panels& p) {
    const Backward& f = k.f;
    const int64_t d0 = k.d0 + i, count = std::min(lanes(), k.count - i), step = lanes();
    const V bias = load_part(&f.dt_bias(d0), count), skip = load_part(&f.D(d0), count), one = set(1.0f);
    V d_D = hn::Zero(Tag()), d_bias = hn::Zero(Tag());
    for (int64_t t = 0; t < k.c.T; ++t) {
        const int64_t time = k.t0 + t;
        const V u = load_part(&f.u(k.b, time, d0), count), d_out = hn::Load(Tag(), p.d_out + t * step);
        const V d_v = hn::Load(Tag(), p.d_v + t * step);
        V d_dt = hn::Mul(hn::Load(Tag(), p.d_dt + t * step), set(kLn2)), d_u = hn::Mul(skip, d_out);
        if (kZoh) {
            d_u = hn::Add(d_u, d_v);
        } else {
            d_dt = hn::MulAdd(u, d_v, d_dt);
            d_u = hn::MulAdd(hn::Load(Tag(), p.dt + t * step), d_v, d_u);
        }
        const V raw = hn::Add(load_part(&f.dt_raw(k.b, time, d0), count), bias);
        const V d_raw = hn::Mul(d_dt, sigmoid(canonical_nan(raw)));
        store_part(d_u, &f.d_u(k.b, time, d0), count);
        store_part(d_raw, &f.d_dt_raw(k.b, time, d0), count);
        d_bias = hn::Add(d_bias, d_raw);
        d_D = hn::MulAdd(d_out, u, d_D);
        if (f.z) {
            const V z = load_part(&f.z(k.b, time, d0), count), s = sigmoid(canonical_nan(z));
            const V slope = hn::Mul(s, hn::MulAdd(z, hn::Sub(one, s), one));
            const V d_y = load_part(&f.d_y(k.b, time, d0), count);
            store_part(hn::Mul(hn::Mul(d_y, hn::Load(Tag(), p.out + t * step)), slope), &f.d_z(k.b, time, d0),
                       count);
        }
    }
    hn::Store(hn::Add(hn::Load(Tag(), k.state.d_D + i), d_D), Tag(), k.state.d_D + i);
    hn::Store(hn::Add(hn::Load(Tag(), k.state.d_dt_bias + i), d_bias), Tag(), k.state.d_dt_bias + i);
}

// All blocks of the group, NB states.
template <int NB, bool kZoh>
void chunk_states_back(const ChunkTask& k, int64_t n0, PanelMemory& panels) {
    HWY_ALIGN Trace trace;
    HWY_ALIGN float d_B[kScanChunk * kMaxStates * kMaxLanes], d_C[kScanChunk * kMaxStates * kMaxLanes];
    std::fill(d_B, d_B + k.c.T * NB * lanes(), 0.0f);
    std::fill(d_C, d_C + k.c.T * NB * lanes(), 0.0f);
    const Backward& f = k.f;
    const int64_t W = f.layout.W;
    for (int64_t i = 0; i < k.count; i += lanes()) {
        const Panels p = panels.at(i);
        const Rates rates{k.state.A2 + i, k.state.inv_A2 + i, W};
        const float* const before = &f.chunk_states(k.b, k.t0 / kScanChunk, 0, k.d0 + i);
        auto* const repeat = f.z ? repeat_states<NB, kZoh, true> : repeat_states<NB, kZoh, false>;
        repeat(k.c, n0, rates, before, std::min(lanes(), k.count - i), f.chunk_states.stride[2], p, trace);
        walk_back<NB, kZoh>(k.c, n0, rates, trace, p, k.state.g + i, k.state.d_A + i, d_B, d_C);
    }
    sum_lanes<NB>(d_B, k.c.T, f.sizes.N, k.d_B + n0);
    sum_lanes<NB>(d_C, k.c.T, f.sizes.N, k.d_C + n0);
}

// One span of one group, chunks from the last.
template <bool kZoh>
void span_task(const Backward& f, int64_t task, int64_t begin, int64_t end) {
    const int64_t W = f.layout.W, N = f.sizes.N, b = task / f.layout.groups, d0 = task % f.layout.groups * W;
    const int64_t count = std::min(W, f.sizes.D - d0);
    const TaskState state(f, task);
    if (end == f.sizes.L) {
        prepare_rates(f.A_log, d0, count, W, state.A2, kZoh ? state.inv_A2 : nullptr);
        if (f.d_h)
            load_state(f.d_hT, b, d0, count, W, state.g);
        else
            std::fill(state.g, state.g + N * W, 0.0f);
        std::fill(state.d_A, state.d_A + N * W + 2 * W, 0.0f);
    }
    PanelMemory panels;
    uint8_t cut[kScanChunk];
    float* const d_B = f.partial(task);
    float* const d_C = d_B + f.layout.span * N;
    for (int64_t t0 = (end - 1) / kScanChunk * kScanChunk; t0 >= begin; t0 -= kScanChunk) {
        load_flags(f.start, b, t0, std::min(kScanChunk, end - t0), cut);
        const Chunk c{std::min(kScanChunk, end - t0),
                      &f.B(b, t0, 0),
                      f.B.stride[1],
                      &f.C(b, t0, 0),
                      f.C.stride[1],
                      cut};
        const ChunkTask k{f, state, b, d0, count, t0, c, d_B + (t0 - begin) * N, d_C + (t0 - begin) * N};
        for (int64_t i = 0; i < count; i += lanes()) fill_panels<kZoh>(k, i, panels.at(i));
        int64_t n = 0;
        for (; n + 4 <= N; n += 4) chunk_states_back<4, kZoh>(k, n, panels);
        for (; n < N; ++n) chunk_states_back<1, kZoh>(k, n, panels);
        for (int64_t i = 0; i < count; i += lanes()) drain_panels<kZoh>(k, i, panels.at(i));
    }
    if (begin == 0 && f.d_h) store_state(state.g, b, d0, count, W, f.d_h);
}

// Adds the groups' shares of dB and dC for one chunk of a span.
inline void add_partials(const Backward& f, int64_t b, int64_t begin, int64_t t0, int64_t T) {
    const int64_t N = f.sizes.N;
    for (int64_t t = t0; t < t0 + T; ++t) {
        for (int64_t group = 0; group < f.layout.groups; ++group) {
            const float* const d_B = f.partial(b * f.layout.groups + group) + (t - begin) * N;
            const float* const d_C = d_B + f.layout.span * N;
            for (int64_t n = 0; n < N; ++n) {
                f.d_B(b, t, n) = group ? f.d_B(b, t, n) + d_B[n] : d_B[n];
                f.d_C(b, t, n) = group ? f.d_C(b, t, n) + d_C[n] : d_C[n];
            }
        }
    }
}

// Adds the parameter gradients of one group over the batch.
inline void add_parameters(const Backward& f, int64_t group) {
    const int64_t W = f.layout.W, d0 = group * W, count = std::min(W, f.sizes.D - d0);
    for (int64_t i = 0; i < count; ++i) {
        float d_D = 0, d_bias = 0;
        for (int64_t b = 0; b < f.sizes.B; ++b) {
            const TaskState state(f, b * f.layout.groups + group);
            d_D += state.d_D[i];
            d_bias += state.d_dt_bias[i];
        }
        f.d_D(d0 + i) += d_D;
        f.d_dt_bias(d0 + i) += d_bias;
        for (int64_t n = 0; n < f.sizes.N; ++n) {
            float d_A = 0;
            for (int64_t b = 0; b < f.sizes.B; ++b)
                d_A += TaskState(f, b * f.layout.groups + group).d_A[n * W + i];
            f.d_A_log(d0 + i, n) += d_A * TaskState(f, group).A2[n * W + i] * kLn2;
        }
    }
}

void backward(ThreadPool& pool, const ScanArgs& args, const TensorRef& chunk_states, const ScanGrads& grads,
              float* scratch) {
    const Backward f(args, chunk_states, grads, scratch);
    const int64_t L = f.sizes.L, span = f.layout.span;
    auto* const run = f.zoh ? span_task<true> : span_task<false>;
    for (int64_t begin = (L - 1) / span * span; begin >= 0; begin -= span) {
        const int64_t end = std::min(L, begin + span), chunks = ceil_div(end - begin, kScanChunk);
        pool.run(f.tasks(), [&](int64_t task) { run(f, task, begin, end); });
        pool.run(f.sizes.B * chunks, [&](int64_t i) {
            const int64_t t0 = begin + i % chunks * kScanChunk;
            add_partials(f, i / chunks, begin, t0, std::min(kScanChunk, end - t0));
        });
    }
    pool.run(f.layout.groups, [&](int64_t group) { add_parameters(f, group); });
}

}  // namespace
}  // namespace adder::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder::cpu {

HWY_EXPORT(backward);

int64_t scan_backward_scratch_bytes(const ScanSizes& s) {
    const ScanBackwardLayout layout(s);
    const int64_t floats = s.B * layout.groups * (layout.task_floats + layout.partial_floats);
    return floats * static_cast<int64_t>(sizeof(float));
}

void scan_backward(ThreadPool& pool, const ScanArgs& args, const TensorRef& chunk_states,
                   const ScanGrads& grads, float* scratch) {
    HWY_DYNAMIC_DISPATCH(backward)(pool, args, chunk_states, grads, scratch);
}

}  // namespace adder::cpu
#endif
