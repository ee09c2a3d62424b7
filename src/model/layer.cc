#include "model/layer.h"

#include "core/ceil_div.h"

namespace adder {

TensorRef Saved::push(const TensorRef& tensor) {
    CHECK(top_ == tensors_.size());
    tensors_.push_back(tensor);
    ++top_;
    return tensors_.back();
}

TensorRef Saved::pop() {
    CHECK(top_ > 0);
    return tensors_[--top_];
}

void Saved::clear() {
    tensors_.clear();
    top_ = 0;
    arena.release(0);
}

TensorRef alloc_step_rows(Ctx& ctx, DType dtype, int64_t B, int64_t width) {
    const int64_t together = 16 / size_of(dtype);
    return ctx.scratch->alloc(dtype, {B, 1, ceil_div(width, together) * together}).slice(2, 0, width);
}

void Layer::step_normed(Ctx& ctx, const AddNormArgs& norm, const TensorRef& residual_out, const TensorRef& y,
                        State state) {
    ArenaScope scope(*ctx.scratch);
    const TensorRef normed = ctx.scratch->alloc(norm.x.dtype, norm.x.shape);
    add_norm_forward(ctx, norm, residual_out, normed);
    CHECK(stride() == 1);
    step(ctx, normed, y, state, 0);
}

}  // namespace adder
