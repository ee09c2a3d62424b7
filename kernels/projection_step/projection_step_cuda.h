// The CUDA twin of projection_step.h for bf16; other calls are composed from the ops that it names.
#pragma once
#include "kernels/projection_step/projection_step.h"

namespace adder::cuda {

// Room for the rows that enter the product, (B,1,D) storage, and what their outputs are multiplied with, (B)
// f32.
struct WeighedRows {
    TensorRef rows, scale;
};

// Rows begin on 16 bytes and consist of as many. Null data counts as aligned.
inline bool aligned(const TensorRef& t) {
    const int last = t.rank() - 1;
    if (reinterpret_cast<uintptr_t>(t.data) % 16 != 0 || t.size(last) * size_of(t.dtype) % 16 != 0)
        return false;
    for (int d = 0; d < last; ++d)
        if (t.size(d) > 1 && t.stride[static_cast<size_t>(d)] * size_of(t.dtype) % 16 != 0) return false;
    return true;
}

inline constexpr int kStepTaps = 4;  // of in_proj_step

// Streams with squares.
void add_to_stream(Ctx& ctx, const TensorRef& x, const TensorRef& residual, const StepStream& stream);
// Taps, weights and rows that are aligned; rows with squares or as they are.
void in_proj_step(Ctx& ctx, const InProjArgs& args, const InProjOut& out);
// With a norm: of one group, all of it and the weight aligned. Without one: into a stream. Streams with
// squares.
void out_proj_step(Ctx& ctx, const OutProjArgs& args, const StepEnd& to, const WeighedRows& room);

}  // namespace adder::cuda
