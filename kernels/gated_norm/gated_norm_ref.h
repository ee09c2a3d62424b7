// The reference of gated_norm.h.
#pragma once
#include "core/view.h"
#include "kernels/common/ref_math.h"

namespace adder::ref {

// Shapes as in GatedNormArgs; y may be x.
template <class S>
void gated_norm_forward(View<const S, 3> x, View<const S, 3> z, View<const S, 1> weight, int64_t G,
                        double eps, View<S, 3> y) {
    using std::sqrt;
    const int64_t B = x.shape[0], L = x.shape[1], n = x.shape[2] / G;
    for (int64_t b = 0; b < B; ++b) {
        for (int64_t t = 0; t < L; ++t) {
            for (int64_t begin = 0; begin < G * n; begin += n) {
                S squares = S(0);
                for (int64_t d = begin; d < begin + n; ++d) {
                    const S g = x(b, t, d) * silu(z(b, t, d));
                    squares += g * g;
                    y(b, t, d) = g;
                }
                const S scale = S(1) / sqrt(squares / S(static_cast<double>(n)) + S(eps));
                for (int64_t d = begin; d < begin + n; ++d) y(b, t, d) = y(b, t, d) * scale * weight(d);
            }
        }
    }
}

// With s = rsqrt(mean g^2 + eps):  d_g = s (d_y weight) - s^3 g mean(d_y weight g). d_x may be d_y.
template <class S>
void gated_norm_backward(View<const S, 3> x, View<const S, 3> z, View<const S, 1> weight, int64_t G,
                         double eps, View<const S, 3> d_y, View<S, 3> d_x, View<S, 3> d_z,
                         View<S, 1> d_weight) {
    using std::sqrt;
    const int64_t B = x.shape[0], L = x.shape[1], n = x.shape[2] / G;
    for (int64_t b = 0; b < B; ++b) {
        for (int64_t t = 0; t < L; ++t) {
            for (int64_t begin = 0; begin < G * n; begin += n) {
                S squares = S(0), dot = S(0);
                for (int64_t d = begin; d < begin + n; ++d) {
                    const S g = x(b, t, d) * silu(z(b, t, d));
                    squares += g * g;
                    dot += d_y(b, t, d) * weight(d) * g;
                }
                const S width = S(static_cast<double>(n));
                const S scale = S(1) / sqrt(squares / width + S(eps));
                const S pull = scale * scale * scale * dot / width;
                for (int64_t d = begin; d < begin + n; ++d) {
                    const S gate = silu(z(b, t, d)), g = x(b, t, d) * gate;
                    const S d_g = scale * d_y(b, t, d) * weight(d) - pull * g;
                    d_weight(d) += d_y(b, t, d) * g * scale;
                    d_z(b, t, d) = d_g * x(b, t, d) * d_silu(z(b, t, d));
                    d_x(b, t, d) = d_g * gate;
                }
            }
        }
    }
}

}  // namespace adder::ref
