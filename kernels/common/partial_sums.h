// The last step of every gradient that is summed over time in blocks.
#pragma once
#include <cstdint>

#include "core/threads.h"

namespace adder::cpu {

// total[i] += partial[0][i] + partial[1][i] + ... for i < n, in that order whatever the number of threads.
void add_partial_sums(ThreadPool& pool, const float* partial, int64_t n_partials, int64_t n, float* total);

}  // namespace adder::cpu
