// Where the scratch of the chunked CPU twin lies, in floats. Follows from the sizes alone.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/ceil_div.h"
#include "kernels/ssd/ssd_cpu.h"

namespace adder::cpu {

// Buffers that are read as vectors have widths that are multiples of this.
inline constexpr int64_t kSsdPad = 16;
// Channels p of one task; two vectors at 512 bits.
inline constexpr int64_t kSsdPanel = 32;

constexpr int64_t ssd_padded(int64_t n) {
    return ceil_div(n, kSsdPad) * kSsdPad;
}

struct SsdForwardPlan {
    int64_t slice;   // steps of one slice, a multiple of kSsdChunk
    int64_t panels;  // of a head
    int64_t width;   // padded channels of a head

    explicit SsdForwardPlan(const SsdProblemF& a) {
        // What a slice reads again and again (B, C, the prepared blocks) stays in a second-level cache where
        // the number of heads allows.
        constexpr int64_t kFloats = int64_t{1} << 17;
        const int64_t step_floats = a.B * (2 * a.G * a.N + a.H * (kSsdBlock + 2));
        slice = std::clamp<int64_t>(kFloats / step_floats / kSsdChunk, 1, a.chunks()) * kSsdChunk;
        panels = ceil_div(a.P, kSsdPanel);
        width = ssd_padded(a.P);
    }
    int64_t head_floats() const { return slice * (kSsdBlock + 2); }
    int64_t group_floats(const SsdProblemF& a) const { return slice * a.N; }
    int64_t state_floats(const SsdProblemF& a) const { return a.N * width; }
    int64_t total_floats(const SsdProblemF& a) const {
        return a.B * (a.H * (head_floats() + state_floats(a)) + a.G * group_floats(a));
    }
};

struct SsdBackwardPlan {
    int64_t slice;  // chunks of one slice
    int64_t width;  // padded N: a row of a state gradient

    explicit SsdBackwardPlan(const SsdProblemF& a) {
        width = ssd_padded(a.N);
        // The kept state gradients stay in a cache unless that leaves too few tasks for the threads.
        constexpr int64_t kFloats = int64_t{1} << 16, kTasks = 16;
        const int64_t wanted = std::max(kFloats / state_floats(a), (kTasks + a.B * a.G - 1) / (a.B * a.G));
        slice = std::clamp<int64_t>(wanted, 1, a.chunks());
    }
    int64_t state_floats(const SsdProblemF& a) const { return a.B * a.H * a.P * width; }
    // Padded, so that the states behind it begin on a cache line.
    int64_t parameter_doubles(const SsdProblemF& a) const { return ssd_padded(3 * a.H * (a.B * slice + 1)); }
    int64_t bytes(const SsdProblemF& a) const {
        return parameter_doubles(a) * size_of(DType::f64) +
               (slice + 1) * state_floats(a) * size_of(DType::f32);
    }
};

}  // namespace adder::cpu
