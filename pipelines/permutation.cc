#include "pipelines/permutation.h"

#include "core/error.h"

namespace adder {

namespace {
// Four suffice for large domains (Luby, Rackoff); small ones, of a few windows, need more to look uniform.
constexpr uint32_t kRounds = 10;
}  // namespace

Permutation::Permutation(int64_t n, uint64_t key) : n_(n), round_(key, Stream::windows) {
    CHECK(n >= 1 && n <= (int64_t{1} << 62));
    while ((int64_t{1} << (2 * half_bits_)) < n) ++half_bits_;
}

uint64_t Permutation::network(uint64_t x) const {
    const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
    uint64_t left = x >> half_bits_, right = x & mask;
    for (uint32_t r = 0; r < kRounds; ++r) {
        const uint64_t mixed = left ^ (round_.u64(right, r) & mask);
        left = right;
        right = mixed;
    }
    return left << half_bits_ | right;
}

int64_t Permutation::operator()(int64_t i) const {
    CHECK(i >= 0 && i < n_);
    uint64_t x = static_cast<uint64_t>(i);
    do x = network(x);
    while (x >= static_cast<uint64_t>(n_));
    return static_cast<int64_t>(x);
}

}  // namespace adder
