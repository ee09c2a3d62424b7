#include "model/state.h"

#include <cstring>

#include "core/ceil_div.h"

namespace adder {

namespace {
int64_t slot_bytes(const StateSlot& slot, DType dtype, Device device) {
    const int64_t align = device == Device::cpu ? Arena::kAlign : Arena::kAlignCuda;
    return ceil_div(slot.shape.numel() * size_of(dtype), align) * align;
}
}  // namespace

int64_t state_bytes(const StateSpec& spec, DType dtype, Device device) {
    int64_t n = 0;
    for (const StateSlot& slot : spec) n += slot_bytes(slot, dtype, device);
    return n;
}

StateStore::StateStore(const StateSpec& spec, DType dtype, int64_t count, Device device, const char* what)
    : StateStore(spec, dtype, Tensor(DType::u8, {count, state_bytes(spec, dtype, device)}, device, what)) {}

StateStore::StateStore(const StateSpec& spec, DType dtype, Tensor memory) : StateStore(spec, dtype, memory.ref()) {
    owned_ = std::move(memory);
}

StateStore::StateStore(const StateSpec& spec, DType dtype, int64_t count, Arena& arena)
    : StateStore(spec, dtype, arena.alloc(DType::u8, {count, state_bytes(spec, dtype, arena.device())})) {
    if (memory_.data) fill_zero(memory_);
}

StateStore::StateStore(const StateSpec& spec, DType dtype, const TensorRef& memory)
    : memory_(memory), n_slots_(spec.size()), count_(memory.size(0)) {
    auto* base = static_cast<char*>(memory.data);
    int64_t at = 0;
    for (int64_t i = 0; i < count_; ++i)
        for (const StateSlot& slot : spec) {
            slots_.emplace_back(base ? base + at : nullptr, dtype, slot.shape, memory.device);
            at += slot_bytes(slot, dtype, memory.device);
        }
}

State StateStore::operator[](int64_t i) const {
    CHECK(i >= 0 && i < count_);
    return State(slots_).subspan(static_cast<size_t>(i) * n_slots_, n_slots_);
}

TensorRef StateStore::bytes_of(int64_t i) const {
    CHECK(i >= 0 && i < count_);
    return memory_.slice(0, i, 1);
}

bool StateStore::equal_bits(int64_t i, int64_t j) const {
    const HostCopy a(bytes_of(i)), b(bytes_of(j));
    return std::memcmp(a.ref().data, b.ref().data, static_cast<size_t>(a.ref().bytes())) == 0;
}

State state_row(State state, int64_t b, std::vector<TensorRef>& storage, int64_t rows) {
    storage.clear();
    for (const TensorRef& slot : state) storage.push_back(slot.slice(0, b, rows));
    return storage;
}

}  // namespace adder
