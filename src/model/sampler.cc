#include "model/sampler.h"

#include <algorithm>

namespace adder {

void check(const SamplerOptions& o, int64_t V) {
    check(static_cast<const SampleRule&>(o));
    CHECK(static_cast<int64_t>(o.allowed.size()) == V);
    if (std::count(o.allowed.begin(), o.allowed.end(), 1) == 0) fail("[sample] no token may be drawn");
}

uint16_t sample(const TensorRef& logits, const SamplerOptions& o, double u, std::vector<uint16_t>& order) {
    order.resize(o.allowed.size());
    const TensorRef allowed(const_cast<uint8_t*>(o.allowed.data()), DType::u8, {static_cast<int64_t>(o.allowed.size())});
    return draw_token(logits, allowed, o, u, order.data());
}

}  // namespace adder
