#include "model/layer.h"

namespace adder {

TensorRef Saved::push(const TensorRef& tensor) {
    tensors_.push_back(tensor);
    return tensors_.back();
}

TensorRef Saved::pop() {
    CHECK(!tensors_.empty());
    TensorRef t = tensors_.back();
    tensors_.pop_back();
    return t;
}

void Saved::clear() {
    tensors_.clear();
    arena.release(0);
}

}  // namespace adder
