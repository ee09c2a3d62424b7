// The sequential part of the backward of ssd.h: the gradient of the state, from the end of a slice to its
// begin. Once per instruction set.
#if defined(ADDER_SSD_CARRY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ADDER_SSD_CARRY_INL_H_
#undef ADDER_SSD_CARRY_INL_H_
#else
#define ADDER_SSD_CARRY_INL_H_
#endif

#include "kernels/ssd/ssd_plan.h"
#include "kernels/ssd/ssd_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder::cpu {
namespace HWY_NAMESPACE {

inline constexpr int64_t kMaxN = 256;
struct BackwardScratch {
    double* totals;    // (H,3): d_A_log, d_D, d_dt_bias
    double* partials;  // (B,slice,H,3)
    float* d_state;    // (B,H,P,width): before the slice
    float* kept;       // (slice,B,H,P,width): after each chunk of the slice

    BackwardScratch(const SsdProblemF& a, const SsdBackwardPlan& plan, void* memory)
        : totals(static_cast<double*>(memory)),
          partials(totals + 3 * a.H),
          d_state(reinterpret_cast<float*>(totals + plan.parameter_doubles(a))),
          kept(d_state + plan.state_floats(a)) {}
};

// The end of the run of steps that begins at t: before the next start, at most `limit`.
HWY_INLINE int64_t run_end(const SsdProblemF& a, int64_t b, int64_t t, int64_t limit) {
    if (!a.start) return limit;
    for (int64_t s = t + 1; s < limit; ++s)
        if (a.start(b, s)) return s;
    return limit;
}

// Channels [p0, p0 + rows) of one head: the state gradient `after` chunk c gives the one `before` it.
HWY_INLINE void carry_chunk(const SsdProblemF& a, const SsdGradientsF& g, int64_t b, int64_t h, int64_t p0,
                            int64_t rows, int64_t c, int64_t width, const float* after, float* before) {
    alignas(64) float packed[kSsdChunk * kMaxN], d_y[kSsdChunk * kSsdPanel];
    const int64_t t0 = c * kSsdChunk, t1 = std::min(a.L, t0 + kSsdChunk);
    if (a.starts(b, t0)) {
        std::fill(before, before + rows * width, 0.0f);
        return;
    }
    const int64_t q = run_end(a, b, t0, t1) - t0;
    HeadSteps steps;
    steps.load(a, b, h, t0, q);
    steps.sum_run(0, q);
    pack(d_y, kSsdPanel, &g.d_y(b, t0, h * a.P + p0), g.d_y.stride[1], q, rows);
    for (int64_t i = 0; i < q; ++i) {
        const VF s = hn::Set(DF(), steps.from_begin[i]);
        for (int64_t p = 0; p < rows; p += kLanes)
            hn::StoreU(hn::Mul(s, hn::LoadU(DF(), d_y + i * kSsdPanel + p)), DF(), d_y + i * kSsdPanel + p);
    }
    const float* C = &a.C(b, t0, a.group(h) * a.N);
    int64_t C_row = a.C.stride[1];
    if (width != a.N) {
        pack(packed, width, C, C_row, q, a.N);
        C = packed, C_row = width;
    }
    const bool whole = t0 + q == t1;
    const VF decay = hn::Set(DF(), steps.from_begin[q - 1]);
    for_tiles(rows, width, [&](auto mr, auto nv, int64_t p, int64_t n) HWY_ATTR {
        Tile<mr, nv> tile;
        if (whole) {
            tile.load(after + p * width + n, width);
            tile.scale(decay);
        } else {
            tile.zero();
        }
        tile.add_backwards({d_y + p, 1, kSsdPanel}, C + n, C_row, 0, q);
        tile.store(before + p * width + n, width);
    });
}

// Carries one panel through the chunks [c0, c1) of a slice, last first.
HWY_INLINE void carry_panel(const SsdProblemF& a, const SsdGradientsF& g, const SsdBackwardPlan& plan,
                            const BackwardScratch& s, int64_t row_head, int64_t p0, int64_t c0, int64_t c1) {
    const int64_t b = row_head / a.H, h = row_head % a.H, rows = std::min(kSsdPanel, a.P - p0);
    const int64_t at = (row_head * a.P + p0) * plan.width, size = rows * plan.width;
    float* d_state = s.d_state + at;
    const auto kept = [&](int64_t c) { return s.kept + (c - c0) * plan.state_floats(a) + at; };
    if (c1 < a.chunks())
        std::copy_n(d_state, size, kept(c1 - 1));
    else if (g.d_h)
        pack(kept(c1 - 1), plan.width, &g.d_h(b, h, p0, 0), g.d_h.stride[2], rows, a.N);
    else
        std::fill_n(kept(c1 - 1), size, 0.0f);
    for (int64_t c = c1 - 1; c >= c0; --c)
        carry_chunk(a, g, b, h, p0, rows, c, plan.width, kept(c), c > c0 ? kept(c - 1) : d_state);
    if (c0 == 0 && g.d_h)
        for (int64_t p = 0; p < rows; ++p)
            std::copy_n(d_state + p * plan.width, a.N, &g.d_h(b, h, p0 + p, 0));
}

}  // namespace HWY_NAMESPACE
}  // namespace adder::cpu
HWY_AFTER_NAMESPACE();

#endif
