// The CPU twin of gemm_ref.h: OpenBLAS on fixed blocks, and matrix-vector products of our own.
#pragma once
#include "core/threads.h"
#include "core/view.h"

namespace adder::cpu {

// t0: absolute position of the first row.
void linear_forward(ThreadPool& pool, View<const float, 3> x, View<const float, 2> weight,
                    View<const float, 1> bias, int64_t t0, View<float, 3> y);
// Not 0 where OpenBLAS would allocate: its AVX-512 kernels for small products pack widths that are no multiple of 16 into
// memory from malloc, unless the right side comes transposed.
int64_t linear_backward_input_scratch_bytes(int64_t I, int64_t O);
// `transposed`: null, or as large as that.
void linear_backward_input(ThreadPool& pool, View<const float, 2> weight, View<const float, 3> d_y,
                           int64_t t0, View<float, 3> d_x, bool add, float* transposed);

int64_t linear_backward_weight_scratch_bytes(int64_t B, int64_t L, int64_t I, int64_t O, int64_t t0);
// `scratch` as large as that; d_weight (O,I) contiguous.
void linear_backward_weight(ThreadPool& pool, View<const float, 3> x, View<const float, 3> d_y, int64_t t0,
                            float* d_weight, View<float, 1> d_bias, float* scratch);

void linear_step(ThreadPool& pool, View<const float, 3> x, View<const float, 2> weight,
                 View<const float, 1> bias, View<float, 3> y);

}  // namespace adder::cpu
