#include "model/layer.h"

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

void Layer::step_normed(Ctx& ctx, const StepStream& stream, const StepEnd& end, State state) {
    ArenaScope scope(*ctx.scratch);
    CHECK(stride() == 1);
    const TensorRef x = normed_rows(ctx, stream), y = end.y ? end.y : ctx.scratch->alloc(x.dtype, x.shape);
    step(ctx, x, y, state, 0);
    if (!end.y) add_to_stream(ctx, y, end.stream.residual, end.stream);
}

}  // namespace adder
