// A seeded permutation of [0, n) of which every value is computed on its own, in constant memory.
// A balanced Feistel network over the next power of four (Luby, Rackoff, "How to construct pseudorandom
// permutations from pseudorandom functions", SIAM J. Comput. 17, 1988) with Philox as the round function;
// values outside [0, n) are permuted again until they fall inside (cycle walking: Black, Rogaway, "Ciphers
// with arbitrary finite domains", CT-RSA 2002, section 3).
#pragma once
#include <cstdint>

#include "core/rng.h"

namespace adder {

class Permutation {
  public:
    // n >= 1. Equal (n, key) give equal permutations.
    Permutation(int64_t n, uint64_t key);
    int64_t size() const { return n_; }
    int64_t operator()(int64_t i) const;

  private:
    uint64_t network(uint64_t x) const;

    int64_t n_;
    int half_bits_ = 1;
    Philox round_;
};

}  // namespace adder
