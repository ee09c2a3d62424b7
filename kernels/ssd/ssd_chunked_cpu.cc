// The chunked forward of ssd.h on the CPU.
//
// It walks time in slices. First, in parallel over (row, chunk), what the heads multiply with is prepared
// once per head: the decays and the masked diagonal blocks M = decay o C B^T o gain (+ D on the diagonal).
// Then, in parallel over (row, head, panel of kSsdPanel channels), each task carries its (N, panel) state
// through the slice, block by block:
//     y     = from_begin C state + M x
//     state = total decay * state + B^T (to_end gain x)
// A block ends at multiples of kSsdBlock and before every start, so no product ever crosses a start.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssd/ssd_chunked_cpu.cc"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "core/ceil_div.h"
#include "kernels/ssd/ssd_plan.h"
#include "kernels/ssd/ssd_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace adder::cpu {
namespace HWY_NAMESPACE {

// The prepared part of one (row, head) and of its group.
struct Prepared {
    float *blocks, *from_begin, *input;  // (slice, kSsdBlock); (slice); (slice): to_end * gain
    float* queries;                      // (slice / kSsdBlock, N, kSsdBlock): C, transposed in blocks

    Prepared(const SsdProblemF& a, const SsdForwardPlan& plan, float* scratch, int64_t b, int64_t h)
        : blocks(scratch + (b * a.H + h) * plan.head_floats()),
          from_begin(blocks + plan.slice * kSsdBlock),
          input(from_begin + plan.slice),
          queries(scratch + a.B * a.H * plan.head_floats() + (b * a.G + a.group(h)) * plan.group_floats(a)) {}

    // Element (step at + r, n) of C is element (r, n) of this.
    Broadcast query(int64_t at, int64_t N) const {
        return {queries + at / kSsdBlock * kSsdBlock * N + at % kSsdBlock, 1, kSsdBlock};
    }
};

// The end of the block that begins at t, within [t, limit).
HWY_INLINE int64_t block_end(const SsdProblemF& a, int64_t b, int64_t t, int64_t limit) {
    int64_t end = std::min(limit, (t / kSsdBlock + 1) * kSsdBlock);
    for (int64_t s = t + 1; a.start && s < end; ++s)
        if (a.start(b, s)) end = s;
    return end;
}

// Transposes C of the chunk [t0, t1) of one group and multiplies its diagonal blocks with B: row t of
// `products` holds the products of step t's query with its block's keys.
HWY_INLINE void prepare_group(const SsdProblemF& a, const Prepared& to, int64_t b, int64_t g, int64_t t0,
                              int64_t t1, int64_t at, float* products) {
    alignas(64) float keys[256 * kSsdBlock];
    for (int64_t t = t0; t < t1; t += kSsdBlock)
        transpose(to.queries + (at + t - t0) * a.N, kSsdBlock, &a.C(b, t, g * a.N), a.C.stride[1],
                  std::min(kSsdBlock, t1 - t), a.N);
    for (int64_t t = t0; t < t1;) {
        const int64_t end = block_end(a, b, t, t1), q = end - t;
        transpose(keys, kSsdBlock, &a.Bm(b, t, g * a.N), a.Bm.stride[1], q, a.N);
        const Broadcast C = to.query(at + t - t0, a.N);
        float* rows = products + (t - t0) * kSsdBlock;
        for_tiles(q, kSsdBlock, [&](auto mr, auto nv, int64_t r, int64_t c) HWY_ATTR {
            Tile<mr, nv> tile;
            tile.zero();
            tile.add({C.data + r, 1, kSsdBlock}, keys + c, kSsdBlock, 0, a.N);
            tile.store(rows + r * kSsdBlock + c, kSsdBlock);
        });
        t = end;
    }
}

// Prepares the chunk [t0, t1) of row b for all heads; `at` is its place in the slice.
HWY_INLINE void prepare_chunk(const SsdProblemF& a, const SsdForwardPlan& plan, float* scratch, bool want_y,
                              int64_t b, int64_t t0, int64_t t1, int64_t at) {
    alignas(64) float products[kSsdChunk * kSsdBlock];
    HeadSteps steps;
    for (int64_t h = 0; h < a.H; ++h) {
        const Prepared to(a, plan, scratch, b, h);
        if (want_y && h % (a.H / a.G) == 0) prepare_group(a, to, b, a.group(h), t0, t1, at, products);
        steps.load(a, b, h, t0, t1 - t0);
        for (int64_t t = t0; t < t1;) {
            const int64_t end = block_end(a, b, t, t1), first = t - t0, last = end - t0;
            steps.sum_run(first, last);
            for (int64_t i = first; want_y && i < last; ++i) {
                float* row = to.blocks + (at + i) * kSsdBlock;
                for (int64_t c = 0; c < last - first; c += kLanes) {
                    const VF p = hn::LoadU(DF(), products + i * kSsdBlock + c);
                    const VF gain = hn::LoadU(DF(), steps.gain + first + c);
                    hn::StoreU(hn::Mul(hn::Mul(p, steps.between(i, first + c)), gain), DF(), row + c);
                }
                row[i - first] += a.D[h];
            }
            t = end;
        }
        for (int64_t i = 0; i < t1 - t0; ++i) {
            to.from_begin[at + i] = steps.from_begin[i];
            to.input[at + i] = steps.to_end[i] * steps.gain[i];
        }
    }
}

// One panel of one head: channels [p0, p0 + cols) and their state (N, width).
struct Panel {
    int64_t b, h, p0, cols, width;
    float* state;
};

HWY_INLINE void panel_outputs(const SsdProblemF& a, const Panel& p, const Prepared& in, int64_t t, int64_t q,
                              int64_t at, bool fresh, const float* x, const View<float, 3>& y) {
    alignas(64) float rows[kSsdBlock * kSsdPanel];
    const bool direct = p.cols == p.width;
    float* to = direct ? &y(p.b, t, p.h * a.P + p.p0) : rows;
    const int64_t to_row = direct ? y.stride[1] : kSsdPanel;
    const Broadcast C = in.query(at, a.N);
    const float* block = in.blocks + at * kSsdBlock;
    for_tiles(q, p.width, [&](auto mr, auto nv, int64_t r, int64_t c) HWY_ATTR {
        Tile<mr, nv> tile;
        tile.zero();
        if (!fresh) {
            tile.add({C.data + r, 1, kSsdBlock}, p.state + c, p.width, 0, a.N);
            tile.scale_rows(in.from_begin + at + r);
        }
        tile.add_lower({block + r * kSsdBlock, kSsdBlock, 1}, x + c, kSsdPanel, r);
        tile.store(to + r * to_row + c, to_row);
    });
    if (direct) return;
    for (int64_t i = 0; i < q; ++i)
        for (int64_t c = 0; c < p.cols; ++c) y(p.b, t + i, p.h * a.P + p.p0 + c) = rows[i * kSsdPanel + c];
}

HWY_INLINE void panel_state(const SsdProblemF& a, const Panel& p, float total, int64_t t, int64_t q,
                            bool fresh, const float* input) {
    const float* B = &a.Bm(p.b, t, a.group(p.h) * a.N);
    const VF decay = hn::Set(DF(), total);
    for_tiles(a.N, p.width, [&](auto mr, auto nv, int64_t n, int64_t c) HWY_ATTR {
        Tile<mr, nv> tile;
        if (fresh) {
            tile.zero();
        } else {
            tile.load(p.state + n * p.width + c, p.width);
            tile.scale(decay);
        }
        tile.add({B + n, 1, a.Bm.stride[1]}, input + c, kSsdPanel, 0, q);
        tile.store(p.state + n * p.width + c, p.width);
    });
}

// At most kSsdPanel floats.
HWY_INLINE void prefetch(const float* from, int64_t count) {
    hwy::Prefetch(from);
    hwy::Prefetch(from + count - 1);
}

// Carries one panel through [t0, t1), a run of whole chunks.
HWY_INLINE void run_panel(const SsdProblemF& a, const SsdResultF& out, const Prepared& in, const Panel& p,
                          int64_t t0, int64_t t1) {
    alignas(64) float x[kSsdBlock * kSsdPanel], input[kSsdBlock * kSsdPanel];
    if (t0 == 0) {
        if (a.h0) {
            for (int64_t i = 0; i < a.N * p.width; ++i) p.state[i] = 0;
            transpose(p.state, p.width, &a.h0(p.b, p.h, p.p0, 0), a.h0.stride[2], p.cols, a.N);
        }
    }
    for (int64_t t = t0; t < t1;) {
        const bool fresh = a.starts(p.b, t) || (t == 0 && !a.h0);
        if (out.chunk_states && t % kSsdChunk == 0) {
            float* kept =
                out.chunk_states + (((p.b * a.chunks() + t / kSsdChunk) * a.H + p.h) * a.P + p.p0) * a.N;
            if (t == 0 && !a.h0)
                std::fill(kept, kept + p.cols * a.N, 0.0f);
            else
                transpose(kept, a.N, p.state, p.width, a.N, p.cols);
        }
        const int64_t end = block_end(a, p.b, t, t1), q = end - t, at = t - t0;
        const float* rows = &a.x(p.b, t, p.h * a.P + p.p0);
        // The rows of the next block are too far apart for the hardware to foresee.
        for (int64_t i = q; i < std::min(2 * q, t1 - t); ++i) {
            prefetch(rows + i * a.x.stride[1], p.cols);
            if (out.y) prefetch(&out.y(p.b, t + i, p.h * a.P + p.p0), p.cols);
        }
        pack(x, kSsdPanel, rows, a.x.stride[1], q, p.cols);
        for (int64_t i = 0; i < q; ++i) {
            const VF s = hn::Set(DF(), in.input[at + i]);
            for (int64_t c = 0; c < p.width; c += kLanes)
                hn::StoreU(hn::Mul(s, hn::LoadU(DF(), x + i * kSsdPanel + c)), DF(),
                           input + i * kSsdPanel + c);
        }
        if (out.y) panel_outputs(a, p, in, t, q, at, fresh, x, out.y);
        panel_state(a, p, in.from_begin[at + q - 1], t, q, fresh, input);
        t = end;
    }
    if (t1 == a.L) transpose(&out.hT(p.b, p.h, p.p0, 0), out.hT.stride[2], p.state, p.width, a.N, p.cols);
}

void ForwardChunked(Ctx& ctx, const SsdProblemF& a, const SsdResultF& out, float* scratch) {
    const SsdForwardPlan plan(a);
    float* states = scratch + a.B * (a.H * plan.head_floats() + a.G * plan.group_floats(a));
    for (int64_t t0 = 0; t0 < a.L; t0 += plan.slice) {
        const int64_t t1 = std::min(a.L, t0 + plan.slice);
        const int64_t chunks = ceil_div(t1 - t0, kSsdChunk);
        ctx.pool->run(a.B * chunks, [&](int64_t task) HWY_ATTR {
            const int64_t begin = t0 + task % chunks * kSsdChunk;
            prepare_chunk(a, plan, scratch, static_cast<bool>(out.y), task / chunks, begin,
                          std::min(t1, begin + kSsdChunk), begin - t0);
        });
        ctx.pool->run(a.B * a.H * plan.panels, [&](int64_t task) HWY_ATTR {
            const int64_t row_head = task / plan.panels, p0 = task % plan.panels * kSsdPanel;
            const int64_t cols = std::min(kSsdPanel, a.P - p0);
            float* state = states + row_head * plan.state_floats(a) + p0 * a.N;
            const int64_t b = row_head / a.H, h = row_head % a.H;
            run_panel(a, out, Prepared(a, plan, scratch, b, h), {b, h, p0, cols, padded(cols), state}, t0,
                      t1);
        });
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace adder::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder::cpu {

HWY_EXPORT(ForwardChunked);

void ssd_forward_chunked(Ctx& ctx, const SsdProblemF& a, const SsdResultF& out, void* scratch) {
    HWY_DYNAMIC_DISPATCH(ForwardChunked)(ctx, a, out, static_cast<float*>(scratch));
}

}  // namespace adder::cpu
#endif
