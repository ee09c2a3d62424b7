#include "model/sampler.h"

#include <algorithm>

namespace adder {

void check(const SamplerOptions& o, int64_t V) {
    check(static_cast<const SampleRule&>(o));
    const int64_t P = std::ssize(o.allowed) / V;
    CHECK(P >= 1 && std::ssize(o.allowed) == P * V);
    for (int64_t p = 0; p < P; ++p)
        if (std::count(o.allowed.begin() + p * V, o.allowed.begin() + (p + 1) * V, 1) == 0)
            fail("[sample] no token may be drawn");
}

uint16_t sample(const TensorRef& logits, const SamplerOptions& o, int64_t position, double u,
                std::vector<uint16_t>& order) {
    const int64_t V = logits.size(0), P = std::ssize(o.allowed) / V;
    order.resize(static_cast<size_t>(V));
    const TensorRef allowed(const_cast<uint8_t*>(o.allowed.data()) + position % P * V, DType::u8, {V});
    return draw_token(logits, allowed, o, u, order.data());
}

}  // namespace adder
