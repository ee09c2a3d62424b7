// The reference of embedding.h.
#pragma once
#include "core/view.h"
#include "kernels/common/ref_math.h"

namespace adder::ref {

template <class S>
void embedding_forward(View<const uint16_t, 2> ids, View<const S, 2> weight, View<S, 3> y) {
    for (int64_t b = 0; b < y.shape[0]; ++b)
        for (int64_t t = 0; t < y.shape[1]; ++t)
            for (int64_t m = 0; m < y.shape[2]; ++m) y(b, t, m) = weight(ids(b, t), m);
}

template <class S>
void embedding_backward(View<const uint16_t, 2> ids, View<const S, 3> d_y, View<S, 2> d_weight) {
    for (int64_t b = 0; b < d_y.shape[0]; ++b)
        for (int64_t t = 0; t < d_y.shape[1]; ++t)
            for (int64_t m = 0; m < d_y.shape[2]; ++m) d_weight(ids(b, t), m) += d_y(b, t, m);
}

}  // namespace adder::ref
