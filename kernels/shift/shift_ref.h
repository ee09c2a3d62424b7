// The reference of shift.h.
#pragma once
#include "core/view.h"

namespace adder::ref {

// Shapes as in ShiftArgs; null views are absent arguments.
template <class S>
void shift_forward(View<const S, 3> x, View<const uint8_t, 2> start, View<const S, 3> before, View<S, 3> y,
                   View<S, 3> after) {
    const int64_t B = y ? y.shape[0] : x.shape[0], L = y ? y.shape[1] : x.shape[1], M = y ? y.shape[2] : x.shape[2];
    for (int64_t b = 0; b < B; ++b)
        for (int64_t m = 0; m < M; ++m) {
            for (int64_t t = 0; y && t < L; ++t) {
                const S from = t > 0 ? x(b, t - 1, m) : before ? before(b, 0, m) : S(0);
                y(b, t, m) = start && start(b, t) ? S(0) : from;
            }
            if (after) after(b, 0, m) = x(b, L - 1, m);
        }
}

template <class S>
void shift_backward(View<const uint8_t, 2> start, View<const S, 3> d_y, View<S, 3> d_x, View<S, 3> d_state) {
    const int64_t B = d_y.shape[0], L = d_y.shape[1], M = d_y.shape[2];
    for (int64_t b = 0; b < B; ++b)
        for (int64_t m = 0; m < M; ++m) {
            for (int64_t t = 0; t + 1 < L; ++t) d_x(b, t, m) = start && start(b, t + 1) ? S(0) : d_y(b, t + 1, m);
            d_x(b, L - 1, m) = d_state ? d_state(b, 0, m) : S(0);
            if (d_state) d_state(b, 0, m) = start && start(b, 0) ? S(0) : d_y(b, 0, m);
        }
}

// A start inside a group is not looked for.
template <class S>
void group_starts(View<const uint8_t, 2> start, int64_t every, View<S, 2> groups) {
    for (int64_t b = 0; b < groups.shape[0]; ++b)
        for (int64_t g = 0; g < groups.shape[1]; ++g) groups(b, g) = S(start(b, g * every));
}

}  // namespace adder::ref
