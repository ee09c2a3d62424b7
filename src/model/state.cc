#include "model/state.h"

#include <cstring>

namespace adder {

namespace {
int64_t slot_bytes(const StateSlot& slot, DType dtype) {
    return (slot.shape.numel() * size_of(dtype) + Arena::kAlign - 1) / Arena::kAlign * Arena::kAlign;
}
}  // namespace

int64_t state_bytes(const StateSpec& spec, DType dtype) {
    int64_t n = 0;
    for (const StateSlot& slot : spec) n += slot_bytes(slot, dtype);
    return n;
}

StateStore::StateStore(const StateSpec& spec, DType dtype, int64_t count)
    : memory_(DType::u8, {count, state_bytes(spec, dtype)}), n_slots_(spec.size()), count_(count) {
    auto* at = static_cast<char*>(memory_.ref().data);
    for (int64_t i = 0; i < count; ++i)
        for (const StateSlot& slot : spec) {
            slots_.emplace_back(at, dtype, slot.shape);
            at += slot_bytes(slot, dtype);
        }
}

State StateStore::operator[](int64_t i) const {
    CHECK(i >= 0 && i < count_);
    return State(slots_).subspan(static_cast<size_t>(i) * n_slots_, n_slots_);
}

void StateStore::zero(int64_t i) { fill_zero(memory_.ref().slice(0, i, 1)); }

bool StateStore::equal_bits(int64_t i, int64_t j) const {
    const TensorRef a = memory_.ref().slice(0, i, 1), b = memory_.ref().slice(0, j, 1);
    return std::memcmp(a.data, b.data, static_cast<size_t>(a.bytes())) == 0;
}

State state_row(State state, int64_t b, std::vector<TensorRef>& storage) {
    storage.clear();
    for (const TensorRef& slot : state) storage.push_back(slot.slice(0, b, 1));
    return storage;
}

}  // namespace adder
