// The reference of unpack_batch.h.
#pragma once
#include "core/view.h"

namespace adder::ref {

// Shapes as in PackedBatch and TokenTile.
template <class Token>
struct PackedViews {
    View<const Token, 2> tokens, targets;
    View<const uint8_t, 2> flags;
    View<const float, 1> palette;
};
template <class S>
struct TileViews {
    View<S, 2> ids, targets, weights, start;
};

template <class Token, class S>
void unpack_batch(const PackedViews<Token>& batch, int64_t t0, const TileViews<S>& out) {
    for (int64_t b = 0; b < out.ids.shape[0]; ++b)
        for (int64_t t = 0; t < out.ids.shape[1]; ++t) {
            const int flag = batch.flags(b, t0 + t);
            out.ids(b, t) = S(batch.tokens(b, t0 + t));
            out.targets(b, t) = S(batch.targets(b, t0 + t));
            out.weights(b, t) = S(batch.palette(flag / 2));
            out.start(b, t) = S(flag % 2);
        }
}

}  // namespace adder::ref
