#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/scan/scan_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "kernels/scan/scan_cpu.h"
#include "kernels/scan/scan_panel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder::cpu::HWY_NAMESPACE {
namespace {

// Mapping: a task owns a group of W channels of one batch row and walks time in chunks; within a chunk it
// takes one block of channels (one vector) after the other, and within that NB states at a time, which stay
// in registers for the whole chunk. y is a sum over states and thus never crosses lanes. Moves 4 (3 rows of
// u, dt, y, 4 with z) B L D bytes; B and C are read once per group from L2.
struct Forward {
    View<const float, 3> u, dt_raw, B, C, z, h0;
    View<const float, 2> A_log;
    View<const float, 1> D, dt_bias;
    View<const uint8_t, 2> start;
    View<float, 3> y, hT;
    View<float, 4> chunk_states;
    bool zoh;
    ScanSizes sizes;

    Forward(const ScanArgs& a, const ScanOut& out)
        : u(a.u.as<const float, 3>("u")),
          dt_raw(a.dt_raw.as<const float, 3>("dt_raw")),
          B(a.B.as<const float, 3>("B")),
          C(a.C.as<const float, 3>("C")),
          z(a.z.as<const float, 3>("z")),
          h0(a.h0.as<const float, 3>("h0")),
          A_log(a.A_log.as<const float, 2>("A_log")),
          D(a.D.as<const float, 1>("D")),
          dt_bias(a.dt_bias.as<const float, 1>("dt_bias")),
          start(a.start.as<const uint8_t, 2>("start")),
          y(out.y.as<float, 3>("y")),
          hT(out.hT.as<float, 3>("hT")),
          chunk_states(out.chunk_states.as<float, 4>("chunk_states")),
          zoh(a.discretization == Discretization::zoh),
          sizes{a.u.size(0), a.u.size(1), a.u.size(2), a.A_log.size(1)} {}
};

// Advances NB states of one block of channels by a chunk; y (a panel) takes the sum of C h.
template <int NB, bool kZoh, bool kOut>
HWY_NOINLINE void advance(const Chunk& c, int64_t n0, const Rates& rates, const float* HWY_RESTRICT dt_panel,
                          const float* HWY_RESTRICT v_panel, float* HWY_RESTRICT y_panel,
                          float* HWY_RESTRICT h_block) {
    const Tag d;
    const int64_t W = rates.W;
    V h[NB];
    for (int i = 0; i < NB; ++i) h[i] = hn::Load(d, h_block + (n0 + i) * W);
    for (int64_t t = 0; t < c.T; ++t) {
        const float* HWY_RESTRICT B = c.B + t * c.B_stride + n0;
        const float* HWY_RESTRICT C = c.C + t * c.C_stride + n0;
        const V dt = hn::Load(d, dt_panel + t * lanes());
        const V v = hn::Load(d, v_panel + t * lanes());
        if (HWY_UNLIKELY(c.cut[t]))
            for (int i = 0; i < NB; ++i) h[i] = hn::Zero(d);
        V y = kOut ? hn::Load(d, y_panel + t * lanes()) : hn::Zero(d);
        for (int i = 0; i < NB; ++i) {
            const V A2 = hn::Load(d, rates.A2 + (n0 + i) * W);
            V a, weight;
            decay<kZoh>(dt, A2, kZoh ? hn::Load(d, rates.inv_A2 + (n0 + i) * W) : A2, a, weight);
            const V input = kZoh ? hn::Mul(v, weight) : v;
            h[i] = hn::MulAdd(a, h[i], hn::Mul(input, set(B[i])));
            if (kOut) y = hn::MulAdd(h[i], set(C[i]), y);
        }
        if (kOut) hn::Store(y, d, y_panel + t * lanes());
    }
    for (int i = 0; i < NB; ++i) hn::Store(h[i], d, h_block + (n0 + i) * W);
}

template <bool kZoh, bool kOut>
void advance_all(const Chunk& c, int64_t N, const Rates& rates, const float* dt, const float* v, float* y,
                 float* h) {
    int64_t n = 0;
    for (; n + 8 <= N; n += 8) advance<8, kZoh, kOut>(c, n, rates, dt, v, y, h);
    for (; n + 4 <= N; n += 4) advance<4, kZoh, kOut>(c, n, rates, dt, v, y, h);
    for (; n < N; ++n) advance<1, kZoh, kOut>(c, n, rates, dt, v, y, h);
}

template <bool kZoh, bool kOut>
void forward_block(const Forward& f, int64_t b, int64_t t0, const Chunk& c, int64_t d0, const Rates& rates,
                   float* h) {
    HWY_ALIGN float dt[kPanel], v[kPanel], y[kPanel];
    const int64_t count = std::min(lanes(), f.sizes.D - d0), step = lanes();
    const V bias = load_part(&f.dt_bias(d0), count), skip = load_part(&f.D(d0), count);
    for (int64_t t = 0; t < c.T; ++t) {
        const V u = load_part(&f.u(b, t0 + t, d0), count);
        V dt_t, v_t;
        if (const int64_t ahead = t0 + t + kScanChunk; ahead < f.sizes.L) {
            hwy::Prefetch(&f.u(b, ahead, d0));
            hwy::Prefetch(&f.dt_raw(b, ahead, d0));
            if (f.z) hwy::Prefetch(&f.z(b, ahead, d0));
            if (kOut) hwy::Prefetch(&f.y(b, ahead, d0));
        }
        step_inputs<kZoh>(load_part(&f.dt_raw(b, t0 + t, d0), count), bias, u, dt_t, v_t);
        hn::Store(dt_t, Tag(), dt + t * step);
        hn::Store(v_t, Tag(), v + t * step);
        if (kOut) hn::Store(hn::Mul(skip, u), Tag(), y + t * step);
    }
    advance_all<kZoh, kOut>(c, f.sizes.N, rates, dt, v, y, h);
    if (!kOut) return;
    for (int64_t t = 0; t < c.T; ++t) {
        V y_t = hn::Load(Tag(), y + t * step);
        if (f.z) y_t = hn::Mul(y_t, gate(load_part(&f.z(b, t0 + t, d0), count)));
        store_part(y_t, &f.y(b, t0 + t, d0), count);
    }
}

template <bool kZoh, bool kOut>
void forward_task(const Forward& f, int64_t task, float* scratch) {
    const auto [n_batch, L, D, N] = f.sizes;
    const int64_t W = scan_group_width(D), groups = scan_groups(D), b = task / groups, d0 = task % groups * W;
    const int64_t count = std::min(W, D - d0);
    float* const A2 = scratch + task * 3 * N * W;
    float* const inv_A2 = A2 + N * W;
    float* const h = inv_A2 + N * W;
    prepare_rates(f.A_log, d0, count, W, A2, kZoh ? inv_A2 : nullptr);
    if (f.h0)
        load_state(f.h0, b, d0, count, W, h);
    else
        std::fill(h, h + N * W, 0.0f);
    uint8_t cut[kScanChunk];
    for (int64_t t0 = 0; t0 < L; t0 += kScanChunk) {
        const int64_t T = std::min(kScanChunk, L - t0);
        if (f.chunk_states)
            for (int64_t n = 0; n < N; ++n)
                std::memcpy(&f.chunk_states(b, t0 / kScanChunk, n, d0), h + n * W,
                            static_cast<size_t>(count) * sizeof(float));
        load_flags(f.start, b, t0, T, cut);
        const Chunk c{T, &f.B(b, t0, 0), f.B.stride[1], &f.C(b, t0, 0), f.C.stride[1], cut};
        for (int64_t i = 0; i < count; i += lanes())
            forward_block<kZoh, kOut>(f, b, t0, c, d0 + i, {A2 + i, inv_A2 + i, W}, h + i);
    }
    store_state(h, b, d0, count, W, f.hT);
}

void forward(ThreadPool& pool, const ScanArgs& args, const ScanOut& out, float* scratch) {
    const Forward f(args, out);
    auto* const run = f.zoh ? (f.y ? forward_task<true, true> : forward_task<true, false>)
                            : (f.y ? forward_task<false, true> : forward_task<false, false>);
    pool.run(f.sizes.B * scan_groups(f.sizes.D), [&](int64_t task) { run(f, task, scratch); });
}

// One token: the states of a channel are contiguous, so a vector holds states here and y sums over lanes.
// `rates` and `inverse` hold log2(e) A of this channel and, for zoh, its inverse.
template <bool kZoh>
HWY_INLINE float step_channel(int64_t N, const float* A2, const float* inv_A2, float dt, float v,
                              const float* B, const float* C, float* h, bool cut) {
    V sum = hn::Zero(Tag());
    for (int64_t n = 0; n < N; n += lanes()) {
        const int64_t count = std::min(lanes(), N - n);
        V a, weight;
        decay<kZoh>(set(dt), hn::Load(Tag(), A2 + n), hn::Load(Tag(), inv_A2 + n), a, weight);
        const V input = kZoh ? hn::Mul(set(v), weight) : set(v);
        const V before = cut ? hn::Zero(Tag()) : load_part(h + n, count);
        const V after = hn::MulAdd(a, before, hn::Mul(input, load_part(B + n, count)));
        store_part(after, h + n, count);
        sum = hn::MulAdd(after, load_part(C + n, count), sum);
    }
    return sum_of_lanes(sum);
}

// One block of channels, all rows. The rates are made once for a few rows at a time.
template <bool kZoh>
void step_task(const Forward& f, int64_t block) {
    constexpr int64_t kRows = 16;
    const auto [n_batch, L, D, N] = f.sizes;
    const int64_t d0 = block * lanes(), count = std::min(lanes(), D - d0);
    const V bias = load_part(&f.dt_bias(d0), count), skip = load_part(&f.D(d0), count);
    HWY_ALIGN float A2[256 + kMaxLanes], inv_A2[256 + kMaxLanes];
    HWY_ALIGN float dt[kRows * kMaxLanes], v[kRows * kMaxLanes], y[kRows * kMaxLanes];
    for (int64_t b0 = 0; b0 < n_batch; b0 += kRows) {
        const int64_t rows = std::min(kRows, n_batch - b0);
        for (int64_t r = 0; r < rows; ++r) {
            V dt_r, v_r;
            const V u = load_part(&f.u(b0 + r, 0, d0), count);
            step_inputs<kZoh>(load_part(&f.dt_raw(b0 + r, 0, d0), count), bias, u, dt_r, v_r);
            hn::Store(dt_r, Tag(), dt + r * kMaxLanes);
            hn::Store(v_r, Tag(), v + r * kMaxLanes);
        }
        for (int64_t i = 0; i < count; ++i) {
            for (int64_t n = 0; n < N; n += lanes()) {
                const V A = rate(load_part(&f.A_log(d0 + i, n), std::min(lanes(), N - n)));
                hn::Store(A, Tag(), A2 + n);
                hn::Store(kZoh ? hn::Div(set(1.0f), A) : A, Tag(), inv_A2 + n);
            }
            for (int64_t r = 0; r < rows; ++r) {
                const int64_t b = b0 + r, at = r * kMaxLanes + i;
                const bool cut = f.start && f.start(b, 0);
                y[at] = step_channel<kZoh>(N, A2, inv_A2, dt[at], v[at], &f.B(b, 0, 0), &f.C(b, 0, 0),
                                           &f.hT(b, d0 + i, 0), cut);
            }
        }
        for (int64_t r = 0; r < rows; ++r) {
            const V u = load_part(&f.u(b0 + r, 0, d0), count);
            V y_r = hn::MulAdd(skip, u, load_part(y + r * kMaxLanes, count));
            if (f.z) y_r = hn::Mul(y_r, gate(load_part(&f.z(b0 + r, 0, d0), count)));
            store_part(y_r, &f.y(b0 + r, 0, d0), count);
        }
    }
}

void step(ThreadPool& pool, const ScanArgs& args, const TensorRef& h, const TensorRef& y) {
    const Forward f(args, {y, h, {}});
    const int64_t blocks = (f.sizes.D + lanes() - 1) / lanes();
    auto* const run = f.zoh ? step_task<true> : step_task<false>;
    // Waking threads takes as long as this many states.
    constexpr int64_t kWorthThreads = 1 << 16;
    if (f.sizes.B * f.sizes.D * f.sizes.N < kWorthThreads) {
        for (int64_t i = 0; i < blocks; ++i) run(f, i);
    } else {
        pool.run(blocks, [&](int64_t i) { run(f, i); });
    }
}

}  // namespace
}  // namespace adder::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder::cpu {

HWY_EXPORT(forward);
HWY_EXPORT(step);

int64_t scan_forward_scratch_bytes(const ScanSizes& s) {
    const int64_t tasks = s.B * scan_groups(s.D);
    return tasks * 3 * s.N * scan_group_width(s.D) * static_cast<int64_t>(sizeof(float));
}

void scan_forward(ThreadPool& pool, const ScanArgs& args, const ScanOut& out, float* scratch) {
    HWY_DYNAMIC_DISPATCH(forward)(pool, args, out, scratch);
}

void scan_step(ThreadPool& pool, const ScanArgs& args, const TensorRef& h, const TensorRef& y) {
    HWY_DYNAMIC_DISPATCH(step)(pool, args, h, y);
}

}  // namespace adder::cpu
#endif
