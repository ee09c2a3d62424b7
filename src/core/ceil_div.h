#pragma once
#include <cstdint>

namespace adder {

// Pieces of size b >= 1 that cover a >= 0.
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace adder
