// The reference of sample.h, which is also the CPU twin: a draw is too small for more.
#pragma once
#include <algorithm>
#include <cmath>

#include "core/view.h"
#include "kernels/sample/sample.h"

namespace adder::ref {

// Throws Error when the logit of an allowed token is not finite. order: V ids of working memory.
template <class S>
uint16_t draw_token(View<const S, 1> logits, View<const uint8_t, 1> allowed, const SampleRule& rule, double u,
                    uint16_t* order) {
    const auto value = [&](uint16_t id) { return static_cast<double>(logits(id)); };
    int64_t n = 0;
    for (int64_t id = 0; id < logits.shape[0]; ++id) {
        if (!allowed(id)) continue;
        order[n++] = static_cast<uint16_t>(id);
        if (!std::isfinite(value(order[n - 1])))
            fail("[sample] the logit of token {} is not finite: the model's parameters are damaged", id);
    }
    const auto before = [&](uint16_t a, uint16_t b) { return value(a) != value(b) ? value(a) > value(b) : a < b; };
    const bool nucleus = rule.top_p > 0 && rule.top_p < 1, ranked = rule.top_k > 0 || nucleus;
    if (ranked) std::sort(order, order + n, before);
    const uint16_t best = ranked ? order[0] : *std::min_element(order, order + n, before);
    if (rule.temperature == 0) return best;
    if (rule.top_k > 0) n = std::min(n, rule.top_k);

    const auto mass = [&](uint16_t id) { return std::exp((value(id) - value(best)) / rule.temperature); };
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += mass(order[i]);
    if (nucleus) {
        double sum = 0;
        int64_t kept = 0;
        while (kept < n && sum < rule.top_p * total) sum += mass(order[kept++]);
        n = std::max<int64_t>(kept, 1);
        total = sum;
    }
    double left = u * total;
    for (int64_t i = 0; i < n; ++i) {
        left -= mass(order[i]);
        if (left < 0) return order[i];
    }
    return order[n - 1];
}

}  // namespace adder::ref
