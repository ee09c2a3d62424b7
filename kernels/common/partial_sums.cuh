// The last step of every gradient that is summed in blocks on a GPU.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

namespace adder::cuda {

struct PartialSums {
    const float* partial;   // (n_partials, n)
    int64_t n_partials, n;
    float* total;           // receives the first n_total columns
    int64_t n_total;
    float* rest = nullptr;  // receives the columns behind them
};

// total[i] += partial[0][i] + partial[1][i] + ... in an order that depends on n_partials alone.
void add_partial_sums(cudaStream_t stream, const PartialSums& sums);

}  // namespace adder::cuda
