// The CPU twin of pool_ref.h.
#pragma once
#include "core/threads.h"
#include "core/view.h"
#include "kernels/common/pool_kind.h"

namespace adder::cpu {

// Shapes as in PoolArgs; null views are absent arguments.
struct Pool {
    View<const float, 3> y;
    View<const uint8_t, 2> start;
    View<const float, 2> state;
    PoolKind kind;
};

void pool_forward(ThreadPool& pool, const Pool& p, View<float, 3> z, View<float, 2> state_out);
// `lengths` has room for B L numbers.
void pool_backward(ThreadPool& pool, const Pool& p, View<const float, 3> z, View<const float, 3> d_z, View<float, 3> d_y,
                   View<float, 2> d_state, double* lengths);

}  // namespace adder::cpu
