// The reference of gemm.h.
#pragma once
#include "core/view.h"
#include "kernels/common/ref_math.h"

namespace adder::ref {

// Shapes as in LinearArgs; a null bias is none.
template <class S>
void linear_forward(View<const S, 3> x, View<const S, 2> weight, View<const S, 1> bias, View<S, 3> y) {
    const int64_t B = x.shape[0], L = x.shape[1], I = x.shape[2], O = weight.shape[0];
    for (int64_t b = 0; b < B; ++b)
        for (int64_t t = 0; t < L; ++t)
            for (int64_t o = 0; o < O; ++o) {
                S sum = bias ? bias(o) : S(0);
                for (int64_t i = 0; i < I; ++i) sum += x(b, t, i) * weight(o, i);
                y(b, t, o) = sum;
            }
}

// d_x = d_y W, or += where `add`.
template <class S>
void linear_backward_input(View<const S, 2> weight, View<const S, 3> d_y, View<S, 3> d_x, bool add) {
    const int64_t B = d_y.shape[0], L = d_y.shape[1], O = weight.shape[0], I = weight.shape[1];
    for (int64_t b = 0; b < B; ++b)
        for (int64_t t = 0; t < L; ++t)
            for (int64_t i = 0; i < I; ++i) {
                S sum = add ? d_x(b, t, i) : S(0);
                for (int64_t o = 0; o < O; ++o) sum += d_y(b, t, o) * weight(o, i);
                d_x(b, t, i) = sum;
            }
}

// A null d_bias is not wanted.
template <class S>
void linear_backward_weight(View<const S, 3> x, View<const S, 3> d_y, View<S, 2> d_weight,
                            View<S, 1> d_bias) {
    const int64_t B = x.shape[0], L = x.shape[1], I = x.shape[2], O = d_y.shape[2];
    for (int64_t b = 0; b < B; ++b)
        for (int64_t t = 0; t < L; ++t)
            for (int64_t o = 0; o < O; ++o) {
                const S g = d_y(b, t, o);
                if (d_bias) d_bias(o) += g;
                for (int64_t i = 0; i < I; ++i) d_weight(o, i) += g * x(b, t, i);
            }
}

}  // namespace adder::ref
