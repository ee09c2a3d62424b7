// The SIMD twin of gated_norm_ref.h.
#pragma once
#include "core/threads.h"
#include "core/view.h"

namespace adder::cpu {

struct GatedNormRows {
    View<const float, 3> x, z;  // (B,L,D)
    View<const float, 1> weight;
    int64_t G;
    float eps;
};

void gated_norm_forward(ThreadPool& pool, const GatedNormRows& in, View<float, 3> y);

int64_t gated_norm_backward_scratch_bytes(int64_t B, int64_t L, int64_t D);
void gated_norm_backward(ThreadPool& pool, const GatedNormRows& in, View<const float, 3> d_y,
                         View<float, 3> d_x, View<float, 3> d_z, View<float, 1> d_weight, float* scratch);

}  // namespace adder::cpu
