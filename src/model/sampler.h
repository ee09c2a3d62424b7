// What may be drawn, and how, over a model's vocabulary; the draw is kernels/sample.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/sample/sample.h"

namespace adder {

struct SamplerOptions : SampleRule {
    // (V), or (P,V) for vocabularies whose tokens alternate: row p % P is of the token at position p. 1 = may be drawn.
    std::vector<uint8_t> allowed;
};

// Throws Error naming the option and its range, or when nothing may be drawn.
void check(const SamplerOptions& options, int64_t V);

// The token at `position`. logits: V values, f32 or f64 contiguous. `u` uniform in [0, 1). `order` is working memory.
uint16_t sample(const TensorRef& logits, const SamplerOptions& options, int64_t position, double u,
                std::vector<uint16_t>& order);

}  // namespace adder
