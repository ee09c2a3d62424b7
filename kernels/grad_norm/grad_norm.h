// Global gradient norm and the search for non-finite values, over a list of tensors.
#pragma once
#include <cstdint>
#include <span>

#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

struct GradNorm {
    double sum_of_squares = 0;  // of all elements, in f64, added in one order whatever the number of threads
    int64_t first_bad = -1;     // index in the list of the first tensor with a NaN or infinity; -1 = none
};

// Contiguous tensors, f32 or f64. Waits for the result.
GradNorm grad_norm(Ctx& ctx, std::span<const TensorRef> tensors);

// A list of f32 tensors of the GPU, with its cut into pieces of equal work: made once, used in every step.
class GradNormTable {
  public:
    GradNormTable() = default;
    explicit GradNormTable(std::span<const TensorRef> tensors);

    void* data() const { return table_.ref().data; }  // see grad_norm_cuda.h
    int64_t tensors() const { return tensors_; }
    int64_t pieces() const { return pieces_; }
    int64_t elements() const { return elements_; }

  private:
    Tensor table_;
    int64_t tensors_ = 0, pieces_ = 0, elements_ = 0;
};

// The same on a GPU, without waiting. norm: one GradNorm in its memory (u8), overwritten.
void grad_norm(Ctx& ctx, const GradNormTable& table, const TensorRef& norm);

}  // namespace adder
