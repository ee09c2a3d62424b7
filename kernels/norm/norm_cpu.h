// The SIMD twin of norm_ref.h.
#pragma once
#include "core/threads.h"
#include "core/view.h"

namespace adder::cpu {

void add_norm_forward(ThreadPool& pool, View<const float, 3> x, View<const float, 3> residual,
                      View<const float, 1> weight, float eps, View<float, 3> residual_out, View<float, 3> y);

int64_t add_norm_backward_scratch_bytes(int64_t B, int64_t L, int64_t M);
void add_norm_backward(ThreadPool& pool, View<const float, 3> residual_out, View<const float, 1> weight,
                       float eps, View<const float, 3> d_y, View<float, 3> d_residual,
                       View<float, 1> d_weight, float* scratch);

}  // namespace adder::cpu
