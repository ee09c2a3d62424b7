// The CUDA twin of grad_norm_ref.h.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "kernels/common/pieces.h"
#include "kernels/grad_norm/grad_norm.h"

namespace adder::cuda {

// A tensor as the kernel sees it.
struct GradNormTensor {
    const float* data;
    int64_t n;
    int32_t aligned;  // to 16 bytes
    int32_t reserved;
};

// What the kernel reads and writes, in one block of memory: tensors, pieces, one GradNorm for each piece.
struct GradNormLayout {
    int64_t tensors = 0, pieces = 0;
    int64_t pieces_at() const { return tensors * static_cast<int64_t>(sizeof(GradNormTensor)); }
    int64_t partials_at() const { return pieces_at() + pieces * static_cast<int64_t>(sizeof(Piece)); }
    int64_t bytes() const { return partials_at() + pieces * static_cast<int64_t>(sizeof(GradNorm)); }
};
GradNormLayout grad_norm_layout(std::span<const TensorRef> tensors);
// Tensors and pieces, to be copied to the start of the block.
std::vector<std::byte> grad_norm_table(std::span<const TensorRef> tensors);

// `table` of this layout in the memory of the GPU.
void grad_norm(Ctx& ctx, void* table, const GradNormLayout& layout, GradNorm* norm);

}  // namespace adder::cuda
