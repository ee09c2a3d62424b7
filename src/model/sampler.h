// Drawing a token from logits.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace adder {

struct SamplerOptions {
    double temperature = 1;              // 0 = the most likely token
    int64_t top_k = 0;                   // 0 = off
    double top_p = 0;                    // nucleus; 0 = off
    std::vector<uint8_t> allowed;        // (V) 1 = may be drawn
};

// Throws Error naming the option and its range, or when nothing may be drawn.
void check(const SamplerOptions& options, int64_t V);

// logits: V values, f32 or f64 contiguous. `u` uniform in [0, 1). Order: mask, temperature, top-k, then the smallest set
// of the most likely tokens whose probability reaches top-p; equal logits rank by token id. `order` is working memory.
// Source of top-p: Holtzman et al. 2020 (arXiv 1904.09751), section 3.1.
uint16_t sample(const TensorRef& logits, const SamplerOptions& options, double u, std::vector<uint16_t>& order);

}  // namespace adder
