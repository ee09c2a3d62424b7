// Linear map with PyTorch's weight layout: y = x W^T + bias.
//
// Rows are cut at multiples of 256 of the absolute position (t0 + t) within each sequence, so a row's bits
// depend on neither the batch nor the number of threads. Sums over time (weight gradients) are cut at
// absolute multiples of 1,024 and added in one order. On a GPU the cuts depend on shapes alone, and only
// linear_step promises bits that do not depend on the other rows.
#pragma once
#include <cstdint>

#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

// "S" is the accumulation type of the storage type. x, y and their gradients may have any row strides.
struct LinearArgs {
    TensorRef x;       // (B,L,I) storage
    TensorRef weight;  // (O,I) storage
    TensorRef bias;    // (O) S; absent = none
    int64_t t0 = 0;    // absolute position of the first row
};

// y (B,L,O) storage, on a GPU also f32 whatever the storage (logits); overwritten.
void linear_forward(Ctx& ctx, const LinearArgs& args, const TensorRef& y);
// d_x (B,L,I) = d_y W, or d_x += d_y W where `add`. args.x is not read and may be absent.
void linear_backward_input(Ctx& ctx, const LinearArgs& args, const TensorRef& d_y, const TensorRef& d_x,
                           bool add);
// d_weight (O,I) S += d_y^T x; d_bias (O) S += sum of d_y rows (present exactly when bias is). Weight may be
// absent.
void linear_backward_weight(Ctx& ctx, const LinearArgs& args, const TensorRef& d_y, const TensorRef& d_weight,
                            const TensorRef& d_bias);
// The rows of a step on a GPU: 8 a block in f32, 16 and more in bf16, and 65,535 blocks of them on grid.y.
inline constexpr int64_t kMostStepRowsCuda = 8 * 65535;
// Throws Error where a step of B rows is more than that; for the ops that hold such a product.
void expect_step_rows(const Ctx& ctx, const char* op, int64_t B);
// Matrix-vector products with a fixed order of additions for generation: x (B,1,I), y (B,1,O). A row's bits
// depend on nothing outside the row. On a GPU the weight is read before the kernels before have ended: none of
// them may write it.
void linear_step(Ctx& ctx, const LinearArgs& args, const TensorRef& y);

}  // namespace adder
