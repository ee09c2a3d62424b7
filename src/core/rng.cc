#include "core/rng.h"

#include <cmath>

namespace adder {

std::array<uint32_t, 4> Philox::block(uint64_t index, uint32_t sub) const {
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

uint64_t Philox::u64(uint64_t index, uint32_t sub) const {
    const auto c = block(index, sub);
    return (static_cast<uint64_t>(c[0]) << 32) | c[1];
}

double Philox::uniform(uint64_t index, uint32_t sub) const {
    return static_cast<double>(u64(index, sub) >> 11) * 0x1p-53;
}

double Philox::normal(uint64_t index, uint32_t sub) const {
    const auto c = block(index, sub);
    const double u = (static_cast<double>((static_cast<uint64_t>(c[0]) << 21) ^ (c[1] >> 11)) + 1) * 0x1p-53;
    const double v = static_cast<double>((static_cast<uint64_t>(c[2]) << 21) ^ (c[3] >> 11)) * 0x1p-53;
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586476925286766559 * v);
}

uint64_t Philox::below(uint64_t n, uint64_t index, uint32_t sub) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(u64(index, sub)) * n) >> 64);
}

}  // namespace adder
