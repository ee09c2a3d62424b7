// How the continuous state space is turned into a recurrence.
#pragma once
#include <cstdint>

namespace adder {

// euler: B-bar = dt B, what state-spaces/mamba computes. zoh: B-bar = (exp(dt A) - 1)/A B, the exact zero-order hold
// of arXiv 2312.00752, equation 4; its series is used below |dt A| = 1e-3.
enum class Discretization : uint8_t { euler, zoh };

}  // namespace adder
