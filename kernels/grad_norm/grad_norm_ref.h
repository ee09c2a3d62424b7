// The reference of grad_norm.h.
#pragma once
#include "core/view.h"
#include "kernels/common/ref_math.h"

namespace adder::ref {

// One tensor, flat.
template <class S>
S sum_of_squares(View<const S, 1> x) {
    S sum = S(0);
    for (int64_t i = 0; i < x.shape[0]; ++i) sum += x(i) * x(i);
    return sum;
}

}  // namespace adder::ref
