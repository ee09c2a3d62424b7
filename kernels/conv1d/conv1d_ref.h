// The reference of conv1d.h.
#pragma once
#include <algorithm>

#include "core/view.h"
#include "kernels/common/ref_math.h"

namespace adder::ref {

// Whether row `to` may see row `from` <= `to`: no start in (from, to]. Rows before 0 are the halo.
inline bool conv1d_sees(const View<const uint8_t, 2>& start, int64_t b, int64_t to, int64_t from) {
    for (int64_t t = std::max<int64_t>(from + 1, 0); start && t <= to; ++t)
        if (start(b, t)) return false;
    return true;
}

// Shapes as in Conv1dArgs; null views are absent arguments.
template <class S>
struct Conv1d {
    View<const S, 3> x;
    View<const S, 2> weight;
    View<const S, 1> bias;
    View<const uint8_t, 2> start;
    View<const S, 3> halo;
    bool silu;

    int64_t taps() const { return weight.shape[1]; }
    // Whether there is an input row t, t >= -(K-1): an absent halo is no row rather than a row of zeros.
    bool has(int64_t t) const { return t >= 0 || halo; }
    S input(int64_t b, int64_t t, int64_t d) const {
        return t >= 0 ? x(b, t, d) : halo(b, taps() - 1 + t, d);
    }
    S pre(int64_t b, int64_t t, int64_t d) const {
        S sum = bias ? bias(d) : S(0);
        for (int64_t k = 0; k < taps(); ++k) {
            const int64_t from = t - (taps() - 1) + k;
            if (has(from) && conv1d_sees(start, b, t, from)) sum += weight(d, k) * input(b, from, d);
        }
        return sum;
    }
};

// A null halo_out is not wanted.
template <class S>
void conv1d_forward(const Conv1d<S>& c, View<S, 3> y, View<S, 3> halo_out) {
    const int64_t B = c.x.shape[0], L = c.x.shape[1], D = c.x.shape[2], K = c.taps();
    for (int64_t b = 0; b < B; ++b)
        for (int64_t t = 0; t < L; ++t)
            for (int64_t d = 0; d < D; ++d) {
                const S pre = c.pre(b, t, d);
                y(b, t, d) = c.silu ? silu(pre) : pre;
            }
    if (!halo_out) return;
    // Rows move up, so halo_out may be the halo.
    for (int64_t b = 0; b < B; ++b)
        for (int64_t r = 0; r < K - 1; ++r) {
            const int64_t t = L - (K - 1) + r;
            const bool seen = c.has(t) && conv1d_sees(c.start, b, L - 1, t);
            for (int64_t d = 0; d < D; ++d) halo_out(b, r, d) = seen ? c.input(b, t, d) : S(0);
        }
}

// A null d_bias is not wanted; a null d_halo is zero and not wanted.
template <class S>
void conv1d_backward(const Conv1d<S>& c, View<const S, 3> d_y, View<S, 3> d_x, View<S, 2> d_weight,
                     View<S, 1> d_bias, View<S, 3> d_halo) {
    const int64_t B = c.x.shape[0], L = c.x.shape[1], D = c.x.shape[2], K = c.taps();
    for (int64_t b = 0; b < B; ++b) {
        // What the rows handed on get back; old halo rows move up where L < K-1.
        for (int64_t t = 0; t < L; ++t) {
            const int64_t r = t - L + K - 1;
            const bool handed_on = d_halo && r >= 0 && conv1d_sees(c.start, b, L - 1, t);
            for (int64_t d = 0; d < D; ++d) d_x(b, t, d) = handed_on ? d_halo(b, r, d) : S(0);
        }
        for (int64_t j = K - 2; d_halo && j >= 0; --j) {
            const bool handed_on = j >= L && conv1d_sees(c.start, b, L - 1, j - (K - 1));
            for (int64_t d = 0; d < D; ++d) d_halo(b, j, d) = handed_on ? d_halo(b, j - L, d) : S(0);
        }
        for (int64_t t = 0; t < L; ++t)
            for (int64_t d = 0; d < D; ++d) {
                const S g = c.silu ? d_y(b, t, d) * d_silu(c.pre(b, t, d)) : d_y(b, t, d);
                if (d_bias) d_bias(d) += g;
                for (int64_t k = 0; k < K; ++k) {
                    const int64_t from = t - (K - 1) + k;
                    if (!conv1d_sees(c.start, b, t, from)) continue;
                    if (c.has(from)) d_weight(d, k) += g * c.input(b, from, d);
                    if (from >= 0)
                        d_x(b, from, d) += g * c.weight(d, k);
                    else if (d_halo)
                        d_halo(b, K - 1 + from, d) += g * c.weight(d, k);
                }
            }
    }
}

}  // namespace adder::ref
