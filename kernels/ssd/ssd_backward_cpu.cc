// Backward of ssd.h on the CPU, chunk by chunk as matrix products.
//
// Time runs backwards in slices of chunks. First, in parallel over (row, head, panel of channels), the
// gradient of the state is carried from the end of a slice to its begin and its value at the end of every
// chunk is kept:
//     d_state = total decay * d_state + (from_begin d_y)^T C
// Then, in parallel over (row, group, chunk), everything else follows from the kept states before and state
// gradients after a chunk. A task walks the heads of its group in order, so sums over heads need no partial
// results. With W = d_y x^T o decay o gain o C B^T the gradient of the log decay at step k is the sum of
// W[i][j] over j < k <= i and of the like terms of both states: sums only, so that nothing cancels.
//
// A start splits its chunk into runs. The state before a run is the kept one or zero, and so is the gradient
// after it.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssd/ssd_backward_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/ceil_div.h"
#include "kernels/ssd/ssd_carry-inl.h"
#include "kernels/ssd/ssd_plan.h"
#include "kernels/ssd/ssd_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder::cpu {
namespace HWY_NAMESPACE {

// Channels that are packed at a time; also the row length of every (step, step) and (step, channel) buffer.
inline constexpr int64_t kBlockP = 64;
inline constexpr int64_t kRow = kSsdChunk;
static_assert(kBlockP == kRow);

// One run of steps of one group. Rows of (step, N) buffers are `width` apart, of (step, step) ones kRow.
struct GroupRun {
    int64_t b, g, t0, q, width;
    const float* before;   // (H,P,N), null = zero: the states before the run
    const float* d_after;  // (H,P,width), null = zero: the gradients of the states after it
    alignas(64) float B[kSsdChunk * kMaxN], C[kSsdChunk * kMaxN];
    alignas(64) float d_B[kSsdChunk * kMaxN], d_C[kSsdChunk * kMaxN];
    alignas(64) float keys[kMaxN * kRow];                                        // B transposed
    alignas(64) float products[kSsdChunk * kRow], d_products[kSsdChunk * kRow];  // C B^T and its gradient
};

HWY_INLINE void begin_group(const SsdProblemF& a, GroupRun& r) {
    const int64_t row = r.g * a.N, size = r.q * r.width;
    pack(r.B, r.width, &a.Bm(r.b, r.t0, row), a.Bm.stride[1], r.q, a.N);
    pack(r.C, r.width, &a.C(r.b, r.t0, row), a.C.stride[1], r.q, a.N);
    std::fill(r.d_B, r.d_B + size, 0.0f);
    std::fill(r.d_C, r.d_C + size, 0.0f);
    std::fill(r.d_products, r.d_products + r.q * kRow, 0.0f);
    transpose(r.keys, kRow, r.B, r.width, r.q, a.N);
    for_tiles(r.q, padded(r.q), [&](auto mr, auto nv, int64_t i, int64_t j) HWY_ATTR {
        if (j >= i + mr) return;
        Tile<mr, nv> tile;
        tile.zero();
        tile.add({r.C + i * r.width, r.width, 1}, r.keys + j, kRow, 0, a.N);
        tile.store(r.products + i * kRow + j, kRow);
    });
}

HWY_INLINE void end_group(const SsdProblemF& a, const SsdGradientsF& g, GroupRun& r) {
    for_tiles(r.q, r.width, [&](auto mr, auto nv, int64_t i, int64_t n) HWY_ATTR {
        Tile<mr, nv> tile;
        tile.load(r.d_C + i * r.width + n, r.width);
        tile.add_lower({r.d_products + i * kRow, kRow, 1}, r.B + n, r.width, i);
        tile.store(r.d_C + i * r.width + n, r.width);
        tile.load(r.d_B + i * r.width + n, r.width);
        tile.add_upper({r.d_products + i, 1, kRow}, r.C + n, r.width, i, r.q);
        tile.store(r.d_B + i * r.width + n, r.width);
    });
    for (int64_t i = 0; i < r.q; ++i) {
        std::copy_n(r.d_B + i * r.width, a.N, &g.d_B(r.b, r.t0 + i, r.g * a.N));
        std::copy_n(r.d_C + i * r.width, a.N, &g.d_C(r.b, r.t0 + i, r.g * a.N));
    }
}

// One head of a run. Rows are kRow apart; `dots` hold one vector a step, to be summed.
struct HeadRun {
    HeadSteps steps;
    alignas(64) float x[kSsdChunk * kRow], d_y[kSsdChunk * kRow], x_t[kBlockP * kRow];
    alignas(64) float d_mix[kSsdChunk * kRow];  // d_y x^T
    alignas(64) float mix[kSsdChunk * kRow];    // decay o C B^T
    alignas(64) float before[kBlockP * kMaxN];  // (p, width)
    alignas(64) float d_after_t[kMaxN * kRow];  // (n, p)
    alignas(64) float before_dots[kSsdChunk * kPad],
        after_dots[kSsdChunk * kPad], gain_dots[kSsdChunk * kPad];
    alignas(64) float input[kSsdChunk + kPad];  // to_end * gain
    alignas(64) float d_log[kSsdChunk + kPad], d_gain[kSsdChunk + kPad];
    double state_dot, skip_dot;
};

HWY_INLINE void add_to(float* to, VF v) {
    hn::StoreU(hn::Add(hn::LoadU(DF(), to), v), DF(), to);
}

HWY_INLINE void pack_channels(const SsdProblemF& a, const SsdGradientsF& g, const GroupRun& r, int64_t h,
                              int64_t p0, int64_t cols, HeadRun& w) {
    pack(w.x, kRow, &a.x(r.b, r.t0, h * a.P + p0), a.x.stride[1], r.q, cols);
    pack(w.d_y, kRow, &g.d_y(r.b, r.t0, h * a.P + p0), g.d_y.stride[1], r.q, cols);
}

// d_mix, the lower triangle.
HWY_INLINE void mix_gradient(const SsdProblemF& a, const SsdGradientsF& g, const GroupRun& r, int64_t h,
                             HeadRun& w) {
    for (int64_t p0 = 0; p0 < a.P; p0 += kBlockP) {
        const int64_t cols = std::min(kBlockP, a.P - p0);
        pack_channels(a, g, r, h, p0, cols, w);
        transpose(w.x_t, kRow, w.x, kRow, r.q, cols);
        for_tiles(r.q, padded(r.q), [&](auto mr, auto nv, int64_t i, int64_t j) HWY_ATTR {
            if (j >= i + mr) return;
            Tile<mr, nv> tile;
            if (p0 == 0)
                tile.zero();
            else
                tile.load(w.d_mix + i * kRow + j, kRow);
            tile.add({w.d_y + i * kRow, kRow, 1}, w.x_t + j, kRow, 0, cols);
            tile.store(w.d_mix + i * kRow + j, kRow);
        });
    }
}

// mix, the group's d_products, and d_log[k] = sum of W[i][j] over j < k <= i.
HWY_INLINE void diagonal_block(GroupRun& r, HeadRun& w) {
    alignas(64) float column[kRow] = {};  // sum of W[i][j] over i >= k
    for (int64_t k = r.q - 1; k >= 0; --k) {
        VF sum = hn::Zero(DF());
        for (int64_t j = 0; j <= k; j += kLanes) {
            const int64_t at = k * kRow + j;
            const VF decay = w.steps.between(k, j), product = hn::LoadU(DF(), r.products + at);
            const hn::Mask<DF> in = hn::FirstN(DF(), static_cast<size_t>(k - j + 1));
            hn::StoreU(hn::Mul(decay, product), DF(), w.mix + at);
            const VF scaled = hn::Mul(decay, hn::LoadU(DF(), w.steps.gain + j));
            const VF d = hn::IfThenElseZero(in, hn::Mul(scaled, hn::LoadU(DF(), w.d_mix + at)));
            add_to(r.d_products + at, d);
            add_to(column + j, hn::IfThenElseZero(in, hn::Mul(d, product)));
            const hn::Mask<DF> before = hn::FirstN(DF(), static_cast<size_t>(k - j));
            sum = hn::Add(sum, hn::IfThenElseZero(before, hn::LoadU(DF(), column + j)));
        }
        w.d_log[k] = sum_of(sum);
    }
}

// d_x and what the inputs' gradient says about gains, decays and D; channels [p0, p0 + cols).
HWY_INLINE void input_gradient(const SsdProblemF& a, const SsdGradientsF& g, const GroupRun& r, int64_t h,
                               int64_t p0, int64_t cols, HeadRun& w) {
    const int64_t width = padded(cols);
    const bool direct = width == cols;
    float* to = direct ? &g.d_x(r.b, r.t0, h * a.P + p0) : w.x_t;
    const int64_t to_row = direct ? g.d_x.stride[1] : kRow;
    const VF skip = hn::Set(DF(), a.D[h]);
    for_tiles(r.q, width, [&](auto mr, auto nv, int64_t j, int64_t c) HWY_ATTR {
        Tile<mr, nv> tile, x;
        tile.zero();
        if (r.d_after) {
            tile.add({r.keys + j, 1, kRow}, w.d_after_t + c, kRow, 0, a.N);
            tile.scale_rows(w.steps.to_end + j);
            x.load(w.x + j * kRow + c, kRow);
            tile.add_dots(x, w.after_dots + j * kPad);
        }
        tile.add_upper({w.mix + j, 1, kRow}, w.d_y + c, kRow, j, r.q);
        x.load(w.x + j * kRow + c, kRow);
        tile.add_dots(x, w.gain_dots + j * kPad);
        tile.scale_rows(w.steps.gain + j);
        x.load(w.d_y + j * kRow + c, kRow);
        tile.add_scaled(skip, x);
        tile.store(to + j * to_row + c, to_row);
    });
    for (int64_t i = 0; !direct && i < r.q; ++i)
        std::copy_n(w.x_t + i * kRow, cols, &g.d_x(r.b, r.t0 + i, h * a.P + p0));
    for (int64_t i = 0; i < r.q; ++i) {
        VF sum = hn::Zero(DF());
        for (int64_t c = i * kRow; c < i * kRow + width; c += kLanes)
            sum = hn::MulAdd(hn::LoadU(DF(), w.x + c), hn::LoadU(DF(), w.d_y + c), sum);
        w.skip_dot += static_cast<double>(sum_of(sum));
    }
}

// What goes through the states before and after the run: d_C, d_B, and their share of d_log.
HWY_INLINE void state_gradients(const SsdProblemF& a, GroupRun& r, int64_t h, int64_t p0, int64_t cols,
                                HeadRun& w) {
    const float* d_after = r.d_after ? r.d_after + (h * a.P + p0) * r.width : nullptr;
    const float* before = r.before ? r.before + (h * a.P + p0) * a.N : nullptr;
    if (before) {
        if (a.N != r.width) {
            pack(w.before, r.width, before, a.N, cols, a.N);
            before = w.before;
        }
        for_tiles(r.q, r.width, [&](auto mr, auto nv, int64_t i, int64_t n) HWY_ATTR {
            Tile<mr, nv> tile, other;
            tile.zero();
            tile.add({w.d_y + i * kRow, kRow, 1}, before + n, r.width, 0, cols);
            tile.scale_rows(w.steps.from_begin + i);
            other.load(r.C + i * r.width + n, r.width);
            tile.add_dots(other, w.before_dots + i * kPad);
            other.load(r.d_C + i * r.width + n, r.width);
            tile.add_scaled(hn::Set(DF(), 1.0f), other);
            tile.store(r.d_C + i * r.width + n, r.width);
        });
    }
    if (d_after) {
        for_tiles(r.q, r.width, [&](auto mr, auto nv, int64_t j, int64_t n) HWY_ATTR {
            Tile<mr, nv> tile, other;
            tile.zero();
            tile.add({w.x + j * kRow, kRow, 1}, d_after + n, r.width, 0, cols);
            tile.scale_rows(w.input + j);
            other.load(r.d_B + j * r.width + n, r.width);
            tile.add_scaled(hn::Set(DF(), 1.0f), other);
            tile.store(r.d_B + j * r.width + n, r.width);
        });
    }
    if (!before || !d_after) return;
    for (int64_t p = 0; p < cols; ++p) {
        const float *u = before + p * r.width, *v = d_after + p * r.width;
        VF sum = hn::Zero(DF());
        for (int64_t n = 0; n < r.width; n += kLanes)
            sum = hn::MulAdd(hn::LoadU(DF(), u + n), hn::LoadU(DF(), v + n), sum);
        w.state_dot += static_cast<double>(sum_of(sum));
    }
}

// d_dt_raw, and this run's share of the parameters' gradients into sums[3].
HWY_INLINE void step_gradients(const SsdProblemF& a, const SsdGradientsF& g, const GroupRun& r, int64_t h,
                               HeadRun& w, double* sums) {
    const HeadSteps& s = w.steps;
    double through = r.before && r.d_after ? static_cast<double>(s.from_begin[r.q - 1]) * w.state_dot : 0.0;
    for (int64_t k = 0; k < r.q; ++k) {
        w.d_gain[k] = sum_of(hn::LoadU(DF(), w.gain_dots + k * kPad));
        w.d_log[k] += static_cast<float>(through);
        if (r.d_after)
            through += static_cast<double>(sum_of(hn::LoadU(DF(), w.after_dots + k * kPad)) * s.gain[k]);
    }
    double later = 0;
    for (int64_t k = r.q - 1; r.before && k >= 0; --k) {
        later += static_cast<double>(sum_of(hn::LoadU(DF(), w.before_dots + k * kPad)));
        w.d_log[k] += static_cast<float>(later);
    }
    for (int64_t k = r.q; k < padded(r.q); ++k) w.d_log[k] = w.d_gain[k] = 0;
    const VF A = hn::Set(DF(), static_cast<float>(s.A));
    for (int64_t k = 0; k < r.q; k += kLanes) {
        const VF d_log = hn::LoadU(DF(), w.d_log + k), d_gain = hn::LoadU(DF(), w.d_gain + k);
        const VF x = hn::LoadU(DF(), s.log_decay + k);
        VF d_dt = hn::Mul(d_log, A), d_A_log = hn::Mul(d_log, x);
        if (a.zoh) {
            d_dt = hn::MulAdd(d_gain, exp_of(x), d_dt);
            const VF rate = hn::Mul(hn::LoadU(DF(), s.dt + k), hn::Mul(x, d_zoh_factor_of(x)));
            d_A_log = hn::MulAdd(d_gain, rate, d_A_log);
        } else {
            d_dt = hn::Add(d_dt, d_gain);
        }
        hn::StoreU(d_A_log, DF(), w.d_log + k);
        hn::StoreU(hn::Mul(d_dt, sigmoid_of(hn::LoadU(DF(), s.raw + k))), DF(), w.d_gain + k);
    }
    sums[1] += w.skip_dot;
    for (int64_t k = 0; k < r.q; ++k) {
        g.d_dt_raw(r.b, r.t0 + k, h) = w.d_gain[k];
        sums[0] += static_cast<double>(w.d_log[k]);
        sums[2] += static_cast<double>(w.d_gain[k]);
    }
}

HWY_INLINE void run_head(const SsdProblemF& a, const SsdGradientsF& g, GroupRun& r, int64_t h, HeadRun& w,
                         double* sums) {
    w.steps.load(a, r.b, h, r.t0, r.q);
    w.steps.sum_run(0, r.q);
    for (int64_t i = 0; i < r.q; ++i) w.input[i] = w.steps.to_end[i] * w.steps.gain[i];
    std::fill(w.before_dots, w.before_dots + r.q * kPad, 0.0f);
    std::fill(w.after_dots, w.after_dots + r.q * kPad, 0.0f);
    std::fill(w.gain_dots, w.gain_dots + r.q * kPad, 0.0f);
    w.state_dot = w.skip_dot = 0;
    mix_gradient(a, g, r, h, w);
    diagonal_block(r, w);
    for (int64_t p0 = 0; p0 < a.P; p0 += kBlockP) {
        const int64_t cols = std::min(kBlockP, a.P - p0);
        if (a.P > kBlockP) pack_channels(a, g, r, h, p0, cols, w);
        if (r.d_after) {
            transpose(w.d_after_t, kRow, r.d_after + (h * a.P + p0) * r.width, r.width, cols, a.N);
            for (int64_t n = 0; n < a.N; ++n)
                std::fill(w.d_after_t + n * kRow + cols, w.d_after_t + n * kRow + padded(cols), 0.0f);
        }
        input_gradient(a, g, r, h, p0, cols, w);
        state_gradients(a, r, h, p0, cols, w);
    }
    step_gradients(a, g, r, h, w, sums);
}

// All runs of chunk c of one group; sums (H,3) of this row and chunk; `d_after` (H,P,width) after the chunk.
HWY_INLINE void run_chunk(const SsdProblemF& a, const SsdGradientsF& g, int64_t b, int64_t group, int64_t c,
                          const float* before, const float* d_after, int64_t width, double* sums) {
    GroupRun r;
    HeadRun w;
    const int64_t heads = a.H / a.G, h0 = group * heads;
    const int64_t t0 = c * kSsdChunk, t1 = std::min(a.L, t0 + kSsdChunk);
    std::fill(sums + 3 * h0, sums + 3 * (h0 + heads), 0.0);
    r.b = b, r.g = group, r.width = width;
    for (int64_t t = t0; t < t1; t += r.q) {
        const int64_t end = run_end(a, b, t, t1);
        r.t0 = t, r.q = end - t;
        r.before = t == t0 && !a.starts(b, t) ? before : nullptr;
        r.d_after = end == t1 ? d_after : nullptr;
        begin_group(a, r);
        for (int64_t h = h0; h < h0 + heads; ++h) run_head(a, g, r, h, w, sums + 3 * h);
        end_group(a, g, r);
    }
}

void Backward(Ctx& ctx, const SsdProblemF& a, const float* chunk_states, const SsdGradientsF& g,
              void* memory) {
    const SsdBackwardPlan plan(a);
    const BackwardScratch s(a, plan, memory);
    const int64_t panels = ceil_div(a.P, kSsdPanel), head = a.P * a.N, row = a.H * a.P * plan.width;
    std::fill(s.totals, s.totals + 3 * a.H, 0.0);
    for (int64_t c1 = a.chunks(); c1 > 0; c1 -= plan.slice) {
        const int64_t c0 = std::max<int64_t>(0, c1 - plan.slice), count = c1 - c0;
        ctx.pool->run(a.B * a.H * panels, [&](int64_t task) HWY_ATTR {
            carry_panel(a, g, plan, s, task / panels, task % panels * kSsdPanel, c0, c1);
        });
        ctx.pool->run(a.B * a.G * count, [&](int64_t task) HWY_ATTR {
            const int64_t i = task % count, group = task / count % a.G, b = task / count / a.G;
            run_chunk(a, g, b, group, c0 + i, chunk_states + (b * a.chunks() + c0 + i) * a.H * head,
                      s.kept + i * plan.state_floats(a) + b * row, plan.width,
                      s.partials + (b * plan.slice + i) * 3 * a.H);
        });
        for (int64_t b = 0; b < a.B; ++b)
            for (int64_t i = count - 1; i >= 0; --i)
                for (int64_t k = 0; k < 3 * a.H; ++k)
                    s.totals[k] += s.partials[(b * plan.slice + i) * 3 * a.H + k];
    }
    for (int64_t h = 0; h < a.H; ++h) {
        g.d_A_log[h] += static_cast<float>(s.totals[3 * h]);
        g.d_D[h] += static_cast<float>(s.totals[3 * h + 1]);
        g.d_dt_bias[h] += static_cast<float>(s.totals[3 * h + 2]);
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace adder::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder::cpu {

HWY_EXPORT(Backward);

void ssd_backward(Ctx& ctx, const SsdProblemF& a, const float* chunk_states, const SsdGradientsF& g,
                  void* scratch) {
    HWY_DYNAMIC_DISPATCH(Backward)(ctx, a, chunk_states, g, scratch);
}

}  // namespace adder::cpu
#endif
