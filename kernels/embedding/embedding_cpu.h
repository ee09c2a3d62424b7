// The CPU twin of embedding_ref.h.
#pragma once
#include "core/threads.h"
#include "core/view.h"

namespace adder::cpu {

// Every id < V.
void embedding_forward(ThreadPool& pool, View<const uint16_t, 2> ids, View<const float, 2> weight,
                       View<float, 3> y);

// The same at every position of the first row.
int64_t embedding_backward_scratch_bytes(int64_t B, int64_t L, int64_t V, int64_t M);
// Every id < V; `scratch` as large as that; d_weight (V,M) contiguous.
void embedding_backward(ThreadPool& pool, View<const uint16_t, 2> ids, View<const float, 3> d_y, int64_t t0,
                        float* d_weight, int64_t V, float* scratch);

}  // namespace adder::cpu
