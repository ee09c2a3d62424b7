// What may be drawn, and how, over a model's vocabulary; the draw is kernels/sample.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/sample/sample.h"

namespace adder {

struct SamplerOptions : SampleRule {
    std::vector<uint8_t> allowed;  // (V) 1 = may be drawn
};

// Throws Error naming the option and its range, or when nothing may be drawn.
void check(const SamplerOptions& options, int64_t V);

// logits: V values, f32 or f64 contiguous. `u` uniform in [0, 1). `order` is working memory.
uint16_t sample(const TensorRef& logits, const SamplerOptions& options, double u, std::vector<uint16_t>& order);

}  // namespace adder
