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

}  // namespace adder
