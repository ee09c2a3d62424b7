// The reference of cross_entropy.h.
#pragma once
#include "core/view.h"
#include "kernels/common/ref_math.h"

namespace adder::ref {

// Shapes as in CrossEntropyArgs and CrossEntropyOut; null weights are 1, null nats and d_logits are not
// wanted. d_logits may be logits. Targets are valid where the weight is not 0.
template <class S>
void cross_entropy(View<const S, 3> logits, View<const uint16_t, 2> targets, View<const float, 2> weights,
                   int64_t ignore_index, View<S, 1> sums, View<S, 2> nats, View<S, 3> d_logits) {
    using std::exp;
    using std::log;
    const int64_t B = logits.shape[0], L = logits.shape[1], V = logits.shape[2];
    S loss = S(0), weight = S(0);
    for (int64_t b = 0; b < B; ++b) {
        for (int64_t t = 0; t < L; ++t) {
            const int64_t target = targets(b, t);
            const S w = target == ignore_index ? S(0) : weights ? S(weights(b, t)) : S(1);
            if (w == S(0)) {
                if (nats) nats(b, t) = S(0);
                for (int64_t v = 0; d_logits && v < V; ++v) d_logits(b, t, v) = S(0);
                continue;
            }
            S largest = logits(b, t, 0), sum = S(0);
            for (int64_t v = 1; v < V; ++v)
                if (real_part(logits(b, t, v)) > real_part(largest)) largest = logits(b, t, v);
            for (int64_t v = 0; v < V; ++v) sum += exp(logits(b, t, v) - largest);
            const S surprise = log(sum) + largest - logits(b, t, target);
            loss += w * surprise;
            weight += w;
            if (nats) nats(b, t) = surprise;
            for (int64_t v = 0; d_logits && v < V; ++v)
                d_logits(b, t, v) = w * (exp(logits(b, t, v) - largest) / sum - S(v == target ? 1 : 0));
        }
    }
    sums(0) = loss;
    sums(1) = weight;
}

}  // namespace adder::ref
