// The CUDA twin of shift_ref.h.
#pragma once
#include "kernels/shift/shift.h"

namespace adder::cuda {

void shift_forward(Ctx& ctx, const ShiftArgs& args, const TensorRef& y, const TensorRef& after);
void shift_backward(Ctx& ctx, const TensorRef& start, const TensorRef& d_y, const TensorRef& d_x, const TensorRef& d_state);
void group_starts(Ctx& ctx, const TensorRef& start, int64_t every, const TensorRef& groups);

}  // namespace adder::cuda
