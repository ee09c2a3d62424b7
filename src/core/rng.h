// Counter-based random numbers: a value depends on (seed, stream, index, lane) and on nothing else, so it is the same
// for any tile, batch row or thread. Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011, section 3.3 and table 2).
#pragma once
#include <array>
#include <cstdint>

namespace adder {

// What a stream of numbers is for; part of the key, so that purposes never share numbers.
enum class Stream : uint32_t { init = 1, windows = 2, offset = 3, sample = 4, augment = 5, test = 6 };

class Philox {
  public:
    Philox(uint64_t seed, Stream stream) : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
                                           stream_(static_cast<uint32_t>(stream)) {}

    // Four 32-bit words for this (index, sub) pair; index is 64-bit, sub picks among 2^32 blocks of one index.
    std::array<uint32_t, 4> block(uint64_t index, uint32_t sub = 0) const;
    uint64_t u64(uint64_t index, uint32_t sub = 0) const;
    // Uniform in [0, 1), 53 bits.
    double uniform(uint64_t index, uint32_t sub = 0) const;
    // Standard normal (Box-Muller on one block).
    double normal(uint64_t index, uint32_t sub = 0) const;
    // Uniform integer in [0, n), n >= 1, without modulo bias that matters (128-bit product).
    uint64_t below(uint64_t n, uint64_t index, uint32_t sub = 0) const;

  private:
    std::array<uint32_t, 2> key_;
    uint32_t stream_;
};

}  // namespace adder
