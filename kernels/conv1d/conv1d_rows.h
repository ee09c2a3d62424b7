// What forward, step and backward share on the CPU.
#pragma once
#include <algorithm>

#include "kernels/conv1d/conv1d_cpu.h"

namespace adder::cpu {

// What every task of a call shares.
struct ConvRows {
    Conv1d c;
    const float* taps;  // (K,D): the weight transposed
    int64_t L, D, K;

    // How many rows before t the row t sees, at most K-1: none past a start, nor past the oldest row there
    // is.
    int64_t reach(int64_t b, int64_t t) const {
        const int64_t most = c.halo ? K - 1 : std::min(K - 1, t);
        for (int64_t j = 0; c.start && j < std::min(most, t + 1); ++j)
            if (c.start(b, t - j)) return j;
        return most;
    }
    // How many rows after t see the row t, at most K-1: none from a start on, nor past the end.
    int64_t seen_by(int64_t b, int64_t t) const {
        const int64_t most = std::min(K - 1, L - 1 - t);
        for (int64_t j = 1; c.start && j <= most; ++j)
            if (t + j >= 0 && c.start(b, t + j)) return j - 1;
        return most;
    }
    // Whether four rows from t see, or are seen by, K-1 rows each that lie in the sequence.
    bool four_reach_back(int64_t b, int64_t t) const { return t >= K - 1 && no_start(b, t - K + 2, t + 4); }
    bool four_seen(int64_t b, int64_t t) const { return t + K + 2 < L && no_start(b, t + 1, t + K + 3); }
    bool no_start(int64_t b, int64_t begin, int64_t end) const {
        for (int64_t t = begin; c.start && t < end; ++t)
            if (c.start(b, t)) return false;
        return true;
    }
    bool handed_on(int64_t b, int64_t t) const {  // whether the next call sees row t >= L-(K-1)
        return no_start(b, std::max<int64_t>(t + 1, 0), L);
    }
    const float* input(int64_t b, int64_t t, int64_t d) const {
        return t >= 0 ? &c.x(b, t, d) : &c.halo(b, K - 1 + t, d);
    }
};

// A stretch of one sequence and of the channels.
struct ConvPart {
    int64_t b, begin, end, d0, d1;
};

constexpr int64_t kMaxTaps = 8;
// What backward works on at a time; g of one such block and its taps stays in the first-level cache.
constexpr int64_t kBackwardRows = 32, kBackwardChannels = 128;

// `taps` (K,D) receives the transposed weight.
ConvRows rows_of(const Conv1d& c, float* taps);

}  // namespace adder::cpu
