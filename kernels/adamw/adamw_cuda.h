// The CUDA twin of adamw_ref.h.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "kernels/adamw/adamw.h"
#include "kernels/common/pieces.h"
#include "kernels/grad_norm/grad_norm.h"

namespace adder::cuda {

// A tensor as the kernel sees it.
struct AdamWPlace {
    float *param, *m, *v;
    const float* grad;
    bf16* copy;  // null = none
    int64_t n;
    int32_t decay;
    int32_t aligned;  // vectors of four fit everywhere
    float rate;       // times the learning rate
};

// What the kernel reads, in one block of memory: tensors, then pieces.
struct AdamWLayout {
    int64_t tensors = 0, pieces = 0;
    int64_t pieces_at() const { return tensors * static_cast<int64_t>(sizeof(AdamWPlace)); }
    int64_t bytes() const { return pieces_at() + pieces * static_cast<int64_t>(sizeof(Piece)); }
};
AdamWLayout adamw_layout(std::span<const AdamWTensor> tensors);
std::vector<std::byte> adamw_table(std::span<const AdamWTensor> tensors);

// The numbers of one update, as begin_update leaves them, from those of `args`.
UpdateState update_of(const AdamWArgs& args);

// `table` of this layout in the memory of the GPU. `state` and `record` are there too; without a state `given` holds,
// without a record nothing is looked for.
struct AdamWCall {
    const void* table = nullptr;
    AdamWLayout layout;
    UpdateState given;
    const UpdateState* state = nullptr;
    UpdateRecord* record = nullptr;
};
void adamw(Ctx& ctx, const AdamWCall& call, const AdamWArgs& args);

struct UpdatePlaces {
    const double* sums;
    const GradNorm* norm;
    UpdateState* state;
    UpdateRecord* record;
};
void begin_update(Ctx& ctx, const AdamWArgs& args, double clip, const UpdatePlaces& at);

}  // namespace adder::cuda
