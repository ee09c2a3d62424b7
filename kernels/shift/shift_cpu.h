// The twin of shift_ref.h that moves whole rows.
#pragma once
#include "core/threads.h"
#include "core/view.h"

namespace adder::cpu {

void shift_forward(ThreadPool& pool, View<const float, 3> x, View<const uint8_t, 2> start, View<const float, 3> before,
                   View<float, 3> y, View<float, 3> after);
void shift_backward(ThreadPool& pool, View<const uint8_t, 2> start, View<const float, 3> d_y, View<float, 3> d_x,
                    View<float, 3> d_state);

// Throws Error naming row and step of a start inside a group.
void group_starts(View<const uint8_t, 2> start, int64_t every, View<uint8_t, 2> groups);

}  // namespace adder::cpu
