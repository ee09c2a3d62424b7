#include "model/sampler.h"

#include <algorithm>
#include <cmath>

namespace adder {

void check(const SamplerOptions& o, int64_t V) {
    if (!(o.temperature >= 0) || !std::isfinite(o.temperature))
        fail("[sample] temperature: {} is not a number >= 0", o.temperature);
    if (o.top_k < 0) fail("[sample] top-k: {} is negative; 0 turns it off", o.top_k);
    if (!(o.top_p >= 0 && o.top_p <= 1)) fail("[sample] top-p: {} is outside 0 to 1", o.top_p);
    CHECK(static_cast<int64_t>(o.allowed.size()) == V);
    if (std::count(o.allowed.begin(), o.allowed.end(), 1) == 0) fail("[sample] no token may be drawn");
}

uint16_t sample(const TensorRef& logits, const SamplerOptions& o, double u, std::vector<uint16_t>& order) {
    auto value = [&](uint16_t id) {
        return logits.dtype == DType::f64 ? static_cast<const double*>(logits.data)[id]
                                          : static_cast<double>(static_cast<const float*>(logits.data)[id]);
    };
    order.clear();
    for (size_t id = 0; id < o.allowed.size(); ++id) {
        if (!o.allowed[id]) continue;
        if (!std::isfinite(value(static_cast<uint16_t>(id))))
            fail("[sample] the logit of token {} is not finite: the model's parameters are damaged", id);
        order.push_back(static_cast<uint16_t>(id));
    }
    auto before = [&](uint16_t a, uint16_t b) { return value(a) != value(b) ? value(a) > value(b) : a < b; };
    const bool ranked = o.top_k > 0 || (o.top_p > 0 && o.top_p < 1);
    if (ranked) std::sort(order.begin(), order.end(), before);
    const uint16_t best = ranked ? order[0] : *std::min_element(order.begin(), order.end(), before);
    if (o.temperature == 0) return best;
    if (o.top_k > 0 && static_cast<size_t>(o.top_k) < order.size()) order.resize(static_cast<size_t>(o.top_k));

    auto mass = [&](uint16_t id) { return std::exp((value(id) - value(best)) / o.temperature); };
    double total = 0;
    for (uint16_t id : order) total += mass(id);
    if (o.top_p > 0 && o.top_p < 1) {
        double sum = 0;
        size_t n = 0;
        while (n < order.size() && sum < o.top_p * total) sum += mass(order[n++]);
        order.resize(std::max<size_t>(n, 1));
        total = sum;
    }
    double left = u * total;
    for (uint16_t id : order) {
        left -= mass(id);
        if (left < 0) return id;
    }
    return order.back();
}

}  // namespace adder
