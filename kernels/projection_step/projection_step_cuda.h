// The CUDA twin of projection_step.h for bf16 and aligned rows; other calls are composed from the ops that it
// names.
#pragma once
#include "kernels/projection_step/projection_step.h"

namespace adder::cuda {

// Room for the rows that enter the product, (B,1,I) storage, and what their outputs are multiplied with, (B)
// f32.
struct WeighedRows {
    TensorRef rows, scale;
};

// Whether the functions below take these. The arguments may have null data, which counts as aligned.
bool in_proj_step_fits(const InProjArgs& args, const InProjOut& out);
bool out_proj_step_fits(const GatedNormArgs& norm, const TensorRef& weight);

void in_proj_step(Ctx& ctx, const InProjArgs& args, const InProjOut& out, const WeighedRows& room);
void out_proj_step(Ctx& ctx, const GatedNormArgs& norm, const TensorRef& weight, const TensorRef& y,
                   const WeighedRows& room);

}  // namespace adder::cuda
