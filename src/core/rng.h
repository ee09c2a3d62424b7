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
    constexpr Philox(uint64_t seed, Stream stream)
        : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}, stream_(static_cast<uint32_t>(stream)) {}

    // Four 32-bit words for this (index, sub) pair; index is 64-bit, sub picks among 2^32 blocks of one index.
    // This and the next two are constexpr so that kernels draw the same numbers.
    constexpr std::array<uint32_t, 4> block(uint64_t index, uint32_t sub = 0) const;
    constexpr uint64_t u64(uint64_t index, uint32_t sub = 0) const;
    // Uniform in [0, 1), 53 bits.
    constexpr double uniform(uint64_t index, uint32_t sub = 0) const;
    // Standard normal (Box-Muller on one block).
    double normal(uint64_t index, uint32_t sub = 0) const;
    // Uniform integer in [0, n), n >= 1, without modulo bias that matters (128-bit product).
    uint64_t below(uint64_t n, uint64_t index, uint32_t sub = 0) const;

  private:
    std::array<uint32_t, 2> key_;
    uint32_t stream_;
};

constexpr std::array<uint32_t, 4> Philox::block(uint64_t index, uint32_t sub) const {
    constexpr uint64_t kM0 = 0xD2511F53, kM1 = 0xCD9E8D57;
    constexpr uint32_t kW0 = 0x9E3779B9, kW1 = 0xBB67AE85;
    std::array<uint32_t, 4> c{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), sub, stream_};
    uint32_t k0 = key_[0], k1 = key_[1];
    for (int round = 0; round < 10; ++round, k0 += kW0, k1 += kW1) {
        const uint64_t p0 = kM0 * c[0], p1 = kM1 * c[2];
        c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
             static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    }
    return c;
}

constexpr uint64_t Philox::u64(uint64_t index, uint32_t sub) const {
    const auto c = block(index, sub);
    return (static_cast<uint64_t>(c[0]) << 32) | c[1];
}

constexpr double Philox::uniform(uint64_t index, uint32_t sub) const {
    return static_cast<double>(u64(index, sub) >> 11) * 0x1p-53;
}

}  // namespace adder
