// Forward of ssd.h: the plan and the carry between segments. The walks are in ssd_chunked.cu and ssd_recurrence.cu.
#include <algorithm>

#include "kernels/common/multiprocessors.h"
#include "kernels/ssd/ssd_forward.cuh"

namespace adder::cuda {

namespace {

// Blocks that run at once on the GPU that the work is cut for, two on each multiprocessor.
constexpr int64_t kSlots = 2 * kMultiprocessors;

struct Cut {
    int64_t segments, segment_chunks;
};

// What a walk costs besides: in units of the time in which every block of a full GPU takes one chunk, about 2.5 us.
struct Costs {
    double states;   // the first walk's share of the last one's work
    double carry;    // a segment's states, written, carried and read again
    double launches = 3;
    double alone = 0.65;  // of the time of a chunk, where a block has a multiprocessor for itself
};

// Segments of time, from the shape alone.
Cut cut_of(int64_t blocks_of_segment, int64_t chunks, const Costs& costs) {
    const auto walk = [&](int64_t blocks, int64_t length) {
        const double pace = 2 * blocks <= kSlots ? costs.alone : 1;
        return static_cast<double>(ceil_div(blocks, kSlots) * length) * pace;
    };
    Cut best{1, chunks};
    double least = walk(blocks_of_segment, chunks);
    for (int64_t wanted = 2; wanted <= std::min<int64_t>(chunks, 2 * kSlots); ++wanted) {
        const int64_t length = ceil_div(chunks, wanted), segments = ceil_div(chunks, length);
        const double cost = walk(blocks_of_segment * segments, length) +
                            costs.states * walk(blocks_of_segment * (segments - 1), length) +
                            costs.carry * static_cast<double>(segments) + costs.launches;
        if (segments > 1 && cost < least) least = cost, best = {segments, length};
    }
    return best;
}

struct Sizes {
    int64_t B, L, H, P, N, G, chunks;
    explicit Sizes(const SsdArgs& a)
        : B(a.x.size(0)), L(a.x.size(1)), H(a.A_log.size(0)), P(a.x.size(2) / H), N(a.N), G(a.G),
          chunks(ceil_div(L, kChunk)) {}

    // Whether the chunked walk can take these sizes.
    bool chunked(DType storage) const {
        return ssd_chunk_states_dtype(storage, P, N) == DType::bf16;
    }
    Cut cut(bool chunked) const {
        // Four passes over f32 states at 5 TB/s.
        const double carry = static_cast<double>(B * H * P * N) * 16 / 5e6 / 2.5;
        if (chunked) return cut_of(B * ssd_chunked_blocks(H, P, G), chunks, {.states = 0.4, .carry = carry});
        // By recurrence a chunk takes several times as long.
        return cut_of(B * H * ceil_div(P, kSsdPanel), chunks, {.states = 0.7, .carry = carry / 4});
    }
};

// Where things lie in scratch, in floats.
struct Layout {
    int64_t steps, states, decays;
    Layout(const Sizes& s, const Cut& c)
        : steps(ssd_steps_floats(s.B, s.L, s.H)), states(c.segments > 1 ? s.B * c.segments * s.H * s.P * s.N : 0),
          decays(c.segments > 1 ? s.B * c.segments * s.H : 0) {}
    int64_t bytes() const { return (3 * steps + states + decays) * static_cast<int64_t>(sizeof(float)); }
};

constexpr int kCarryThreads = 256;

// states[s] := the state before segment s. A thread owns one element (b, h, p, n) and walks the segments in order, loading
// kAhead of them at a time. Bytes: 8 per element and segment.
template <class T>
__global__ void __launch_bounds__(kCarryThreads) carry_kernel(SsdWalk<T> w) {
    constexpr int kAhead = 8;
    wait_for_previous();
    release_next();
    const int64_t size = static_cast<int64_t>(w.in.P) * w.in.N, row = w.in.H * size;
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kCarryThreads + threadIdx.x;
    if (i >= w.in.B * row) return;
    const int b = static_cast<int>(i / row), h = static_cast<int>(i % row / size);
    const int64_t at = i % size;
    float* states = w.states + b * w.segments * row + i % row;
    const float* decays = w.decay(b, 0, h);
    float state = w.in.h0 ? w.in.h0(b, h, at / w.in.N, at % w.in.N) : 0.0f;
    for (int64_t s0 = 0; s0 < w.segments; s0 += kAhead) {
        float added[kAhead], decay[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            // Nobody has written the last segment's, and nobody asks for what comes after it.
            const bool some = s0 + k + 1 < w.segments;
            added[k] = some ? states[(s0 + k) * row] : 0.0f;
            decay[k] = some ? decays[(s0 + k) * w.in.H] : 0.0f;
        }
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            if (s0 + k < w.segments) states[(s0 + k) * row] = state;
            state = decay[k] == SsdWalk<T>::kCut ? added[k] : decay[k] * state + added[k];
        }
    }
}

template <class T>
void walk_segments(Ctx& ctx, const SsdWalk<T>& walk, int64_t count, bool chunked) {
    if constexpr (std::is_same_v<T, bf16>)
        if (chunked) return ssd_walk_chunked(ctx, walk, count);
    ssd_walk_recurrence(ctx, walk, count);
}

template <class T>
void forward(Ctx& ctx, const SsdArgs& args, const SsdOut& out, float* scratch) {
    const Sizes sizes(args);
    SsdWalk<T> w{};
    w.in = ssd_inputs<T>(args);
    w.y = out.y.as<T, 3>("[ssd] y");
    w.hT = out.hT.as<float, 4>("[ssd] hT");
    w.chunk_states = out.chunk_states.data;
    w.bf16_states = sizes.chunked(args.x.dtype);
    const bool aligned = vector_width(w.in.x, 8) == 8 && vector_width(w.in.Bm, 8) == 8 && vector_width(w.in.C, 8) == 8 &&
                         (!w.y || vector_width(w.y, 8) == 8) && reinterpret_cast<uintptr_t>(w.chunk_states) % 16 == 0;
    const bool chunked = w.bf16_states && aligned;
    const Cut cut = sizes.cut(chunked);
    const Layout layout(sizes, cut);
    float* const more = scratch + layout.steps;
    if (chunked)
        w.steps = {scratch, nullptr, nullptr, sizes.chunks, more};
    else
        w.steps = {scratch, more, more + layout.steps, sizes.chunks};
    w.states = scratch + 3 * layout.steps;
    w.decays = w.states + layout.states;
    w.segments = cut.segments, w.segment_chunks = cut.segment_chunks;
    ssd_prepare_steps(ctx, w.in, w.steps);

    const int64_t last = w.segments - 1;
    if (last > 0) {
        SsdWalk<T> states = w;
        states.y = {}, states.chunk_states = nullptr, states.first = 0, states.from_zero = true;
        walk_segments(ctx, states, last, chunked);
        const int64_t elements = sizes.B * sizes.H * sizes.P * sizes.N;
        launch_early(ctx.gpu->stream(), dim3(blocks(ceil_div(elements, kCarryThreads))), dim3(kCarryThreads), 0,
               carry_kernel<T>, w);
    }
    // Where only hT is wanted it still comes from the walk of the last segment: the same bits.
    w.first = out.y || out.chunk_states ? 0 : last, w.from_zero = false;
    walk_segments(ctx, w, w.segments - w.first, chunked);
}

}  // namespace

int64_t ssd_forward_scratch_bytes(const SsdArgs& args, const SsdOut&) {
    const Sizes s(args);
    int64_t bytes = Layout(s, s.cut(false)).bytes();
    // Whether addresses allow the chunked walk is known only when it runs.
    if (s.chunked(args.x.dtype)) bytes = std::max(bytes, Layout(s, s.cut(true)).bytes());
    return bytes;
}

void ssd_forward(Ctx& ctx, const SsdArgs& args, const SsdOut& out, void* scratch) {
    if (args.x.dtype == DType::bf16)
        forward<bf16>(ctx, args, out, static_cast<float*>(scratch));
    else
        forward<float>(ctx, args, out, static_cast<float*>(scratch));
}

}  // namespace adder::cuda
