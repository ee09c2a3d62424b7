// Global gradient norm and the search for non-finite values, over a list of tensors.
#pragma once
#include <cstdint>
#include <span>

#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

struct GradNorm {
    double sum_of_squares = 0;  // of all elements, in f64, added in one order whatever the number of threads
    int64_t first_bad = -1;     // index in the list of the first tensor with a NaN or infinity; -1 = none
};

// Contiguous tensors, f32 or f64.
GradNorm grad_norm(Ctx& ctx, std::span<const TensorRef> tensors);

}  // namespace adder
