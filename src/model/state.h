// Owned states: one buffer for all slots of a layer stack.
#pragma once
#include <vector>

#include "core/tensor.h"
#include "model/layer.h"

namespace adder {

int64_t state_bytes(const StateSpec& spec, DType dtype);

// `count` states of one spec, side by side in memory, all zero at first.
class StateStore {
  public:
    StateStore() = default;
    StateStore(const StateSpec& spec, DType dtype, int64_t count);
    State operator[](int64_t i) const;
    int64_t count() const { return count_; }
    int64_t bytes() const { return memory_.ref().bytes(); }
    void zero(int64_t i);
    bool equal_bits(int64_t i, int64_t j) const;

  private:
    Tensor memory_;                 // (count, bytes of one)
    std::vector<TensorRef> slots_;  // count x slots
    size_t n_slots_ = 0;
    int64_t count_ = 0;
};

// Row b of a batch state, as a state of batch 1. `storage` receives the slots and must outlive the result.
State state_row(State state, int64_t b, std::vector<TensorRef>& storage);

}  // namespace adder
