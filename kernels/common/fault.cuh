// How a kernel says what it has found wrong in its data.
#pragma once
#include <cuda_runtime.h>

#include "core/device.h"

namespace adder::cuda {

// Only the first report is kept until the host has read it.
__device__ __forceinline__ void report(FaultWord* word, Fault fault, int value, int64_t row, int64_t position) {
    static_assert(sizeof(Fault) == sizeof(int));
    if (atomicCAS(reinterpret_cast<int*>(&word->fault), static_cast<int>(Fault::none), static_cast<int>(fault)) !=
        static_cast<int>(Fault::none))
        return;
    word->value = value;
    word->row = row;
    word->position = position;
}

}  // namespace adder::cuda
