// The GPU that work is cut for.
#pragma once
#include <cstdint>

namespace adder::cuda {

// Of an H100 or H200. A constant whatever GPU there is: how work is cut decides the bits of sums, and only
// shapes may, beside the shared memory that there is (shared_memory.h).
inline constexpr int64_t kMultiprocessors = 132;

}  // namespace adder::cuda
