// AdamW over a list of tensors, in one call.
//
//   g' = grad_scale g     m = beta1 m + (1-beta1) g'     v = beta2 v + (1-beta2) g'^2
//   p  = p - lr weight_decay p - lr (m / (1-beta1^step)) / (sqrt(v / (1-beta2^step)) + eps)
//
// Source: Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2; the order of PyTorch's AdamW.
#pragma once
#include <cstdint>
#include <span>

#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

// Contiguous tensors of one shape, all of type S (f32 or f64).
struct AdamWTensor {
    TensorRef param, grad, m, v;
    bool decay = true;  // weight decay applies
};

struct AdamWArgs {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
    int64_t step = 1;        // 1 for the first update
    double grad_scale = 1;   // 1/W times the clip factor
};

void adamw(Ctx& ctx, std::span<const AdamWTensor> tensors, const AdamWArgs& args);

}  // namespace adder
