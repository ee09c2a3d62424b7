// The SIMD twin of conv1d_ref.h.
#pragma once
#include "core/threads.h"
#include "core/view.h"

namespace adder::cpu {

// Shapes as in Conv1dArgs; null views are absent arguments.
struct Conv1d {
    View<const float, 3> x;
    View<const float, 2> weight;
    View<const float, 1> bias;
    View<const uint8_t, 2> start;
    View<const float, 3> halo;
    bool silu;

    int64_t taps() const { return weight.shape[1]; }
};

// `scratch` as large as these say, in bytes.
int64_t conv1d_forward_scratch_bytes(int64_t D, int64_t K);
int64_t conv1d_backward_scratch_bytes(int64_t B, int64_t L, int64_t D, int64_t K);

void conv1d_forward(ThreadPool& pool, const Conv1d& c, View<float, 3> y, View<float, 3> halo_out,
                    float* scratch);
void conv1d_backward(ThreadPool& pool, const Conv1d& c, View<const float, 3> d_y, View<float, 3> d_x,
                     View<float, 2> d_weight, View<float, 1> d_bias, View<float, 3> d_halo, float* scratch);
// c.halo is not read.
void conv1d_step(ThreadPool& pool, const Conv1d& c, View<float, 3> halo, View<float, 3> y, float* scratch);

}  // namespace adder::cpu
