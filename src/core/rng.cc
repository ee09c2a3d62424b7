#include "core/rng.h"

#include <cmath>

namespace adder {

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
