// Shared by the forward kernels of ssd.h: how the work is cut, and what a walk over time reads and writes.
//
// Time is cut into segments of whole chunks. Every segment but the last is walked from a zero state for its state alone;
// one kernel then carries the true state from segment to segment; then all segments are walked from their true states.
// With one segment only the last walk is left.
#pragma once
#include "kernels/ssd/ssd_tile.cuh"

namespace adder::cuda {

template <class T>
struct SsdWalk {
    SsdInputs<T> in;
    SsdSteps steps;
    View<T, 3> y;      // may be absent
    View<float, 4> hT;
    void* chunk_states;  // (B,chunks,H,P,N), bf16 or f32; may be null
    bool bf16_states;
    // (B,segments,H,P,N): the first walk leaves states after segments that began at zero, the carry turns them into the
    // states before segments.
    float* states;
    float* decays;     // (B,segments,H) of whole segments; kCut where a start lies in them
    int64_t segments, segment_chunks;
    int64_t first;     // segments walked by this launch begin here
    bool from_zero;    // the first walk

    static constexpr float kCut = -1;

    __device__ float* state(int b, int64_t segment, int h) const {
        return states + ((b * segments + segment) * in.H + h) * in.P * in.N;
    }
    __device__ float* decay(int b, int64_t segment, int h) const { return decays + (b * segments + segment) * in.H + h; }
    // S: bf16 where bf16_states, else float.
    template <class S>
    __device__ S* chunk_state(int b, int64_t chunk, int h) const {
        return static_cast<S*>(chunk_states) + ((b * in.chunks() + chunk) * in.H + h) * in.P * in.N;
    }
};

// The first walk of segments [walk.first, walk.first + count), or the last one.
// By recurrence: any shape, f32 arithmetic.
template <class T>
void ssd_walk_recurrence(Ctx& ctx, const SsdWalk<T>& walk, int64_t count);
// By products of chunks on tensor cores: shapes whose chunk_states are bf16; addresses and rows of x, B, C, y and
// chunk_states aligned to 16 bytes. Shared: 80 KiB a block where N <= 64, else 113 KiB.
void ssd_walk_chunked(Ctx& ctx, const SsdWalk<bf16>& walk, int64_t count);

// Channels of a head that the chunked walk takes at once, and how many such panels of one group share a block.
inline constexpr int kSsdPanel = 64, kSsdPanelsOfBlock = 2;
// Blocks of the chunked walk for one segment of one sequence.
inline int64_t ssd_chunked_blocks(int64_t H, int64_t P, int64_t G) {
    return G * ceil_div(H / G * ceil_div(P, kSsdPanel), kSsdPanelsOfBlock);
}

}  // namespace adder::cuda
