// How ops cut time: at absolute positions, so that the cuts stay where they are whatever tile a step falls
// in.
#pragma once
#include <algorithm>
#include <cstdint>

namespace adder {

// Steps of one partial sum: where the CPU twins cut their sums over time.
inline constexpr int64_t kTimeSlice = 1024;

// Steps [0, L) of a row whose step 0 has the absolute position t0, cut at the absolute multiples of `size`.
struct TimeBlocks {
    int64_t t0, L, size;

    int64_t count() const { return L == 0 ? 0 : (t0 + L - 1) / size - t0 / size + 1; }
    // Block i < count() is [begin(i), begin(i + 1)).
    int64_t begin(int64_t i) const { return std::clamp((t0 / size + i) * size - t0, int64_t{0}, L); }
};

}  // namespace adder
