// Owned states: one buffer for all slots of a layer stack.
#pragma once
#include <vector>

#include "core/tensor.h"
#include "model/layer.h"

namespace adder {

int64_t state_bytes(const StateSpec& spec, DType dtype, Device device = Device::cpu);

// `count` states of one spec, side by side in memory, all zero at first.
class StateStore {
  public:
    StateStore() = default;
    // `what` names the memory in messages.
    StateStore(const StateSpec& spec, DType dtype, int64_t count, Device device = Device::cpu, const char* what = "states");
    // In memory of `arena`; without data where that counts.
    StateStore(const StateSpec& spec, DType dtype, int64_t count, Arena& arena);
    State operator[](int64_t i) const;
    // All bytes of one state.
    TensorRef bytes_of(int64_t i) const;
    int64_t count() const { return count_; }
    int64_t bytes() const { return memory_.bytes(); }
    void zero(const Ctx& ctx, int64_t i) { fill_zero(ctx, bytes_of(i)); }
    bool equal_bits(int64_t i, int64_t j) const;  // waits for the GPU

  private:
    StateStore(const StateSpec& spec, DType dtype, Tensor memory);
    StateStore(const StateSpec& spec, DType dtype, const TensorRef& memory);

    Tensor owned_;                  // empty in an arena
    TensorRef memory_;              // (count, bytes of one)
    std::vector<TensorRef> slots_;  // count x slots
    size_t n_slots_ = 0;
    int64_t count_ = 0;
};

// Rows from b of a batch state, as a state of that batch. `storage` receives the slots and must outlive the result.
State state_row(State state, int64_t b, std::vector<TensorRef>& storage, int64_t rows = 1);

}  // namespace adder
