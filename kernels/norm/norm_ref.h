// The reference of norm.h.
#pragma once
#include "core/view.h"
#include "kernels/common/ref_math.h"

namespace adder::ref {

// Shapes as in AddNormArgs; a null residual is zero.
template <class S>
void add_norm_forward(View<const S, 3> x, View<const S, 3> residual, View<const S, 1> weight, double eps,
                      View<S, 3> residual_out, View<S, 3> y) {
    using std::sqrt;
    const int64_t B = x.shape[0], L = x.shape[1], M = x.shape[2];
    for (int64_t b = 0; b < B; ++b) {
        for (int64_t t = 0; t < L; ++t) {
            S squares = S(0);
            for (int64_t m = 0; m < M; ++m) {
                const S r = residual ? residual(b, t, m) + x(b, t, m) : x(b, t, m);
                residual_out(b, t, m) = r;
                squares += r * r;
            }
            const S scale = S(1) / sqrt(squares / S(static_cast<double>(M)) + S(eps));
            for (int64_t m = 0; m < M; ++m) y(b, t, m) = residual_out(b, t, m) * scale * weight(m);
        }
    }
}

// With s = rsqrt(mean r^2 + eps):  d_r = s (d_y weight) - s^3 r mean(d_y weight r)
template <class S>
void add_norm_backward(View<const S, 3> residual_out, View<const S, 1> weight, double eps,
                       View<const S, 3> d_y, View<S, 3> d_residual, View<S, 1> d_weight) {
    using std::sqrt;
    const int64_t B = d_y.shape[0], L = d_y.shape[1], M = d_y.shape[2];
    for (int64_t b = 0; b < B; ++b) {
        for (int64_t t = 0; t < L; ++t) {
            S squares = S(0), dot = S(0);
            for (int64_t m = 0; m < M; ++m) {
                const S r = residual_out(b, t, m);
                squares += r * r;
                dot += d_y(b, t, m) * weight(m) * r;
            }
            const S scale = S(1) / sqrt(squares / S(static_cast<double>(M)) + S(eps));
            const S pull = scale * scale * scale * dot / S(static_cast<double>(M));
            for (int64_t m = 0; m < M; ++m) {
                const S r = residual_out(b, t, m);
                d_weight(m) += d_y(b, t, m) * r * scale;
                d_residual(b, t, m) += scale * d_y(b, t, m) * weight(m) - pull * r;
            }
        }
    }
}

}  // namespace adder::ref
