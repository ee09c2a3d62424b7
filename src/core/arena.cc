#include "core/arena.h"

#include <algorithm>
#include <cstring>

#include "core/ceil_div.h"

namespace adder {

namespace {
constexpr unsigned char kCanary = 0xA5;  // fills the last kAlign bytes of a poisoned allocation
}

void Arena::unbind() {
    memory_ = {};
    base_ = nullptr;
    capacity_ = used_ = peak_ = 0;
}

void Arena::bind(int64_t bytes, bool poison) {
    unbind();  // what is there goes first
    Tensor memory(DType::u8, {std::max<int64_t>(bytes, 1)}, device_, what_);
    bind(memory.ref().slice(0, 0, bytes), poison);
    memory_ = std::move(memory);
}

void Arena::bind(const TensorRef& memory, bool poison) {
    unbind();
    CHECK(memory.device == device_);
    base_ = static_cast<char*>(memory.data);
    capacity_ = memory.bytes();
    poison_ = poison && device_ == Device::cpu;
}

TensorRef Arena::alloc(DType dtype, const Shape& shape) {
    int64_t payload = 0;
    // Half of the range is left to the sums below.
    if (__builtin_mul_overflow(shape.numel(), size_of(dtype), &payload) || payload > (int64_t{1} << 62) - used_)
        fail("a tensor of shape {} is too large", to_string(shape));
    // One spare line behind each block on the CPU: room for the canary, and counted alike with and without poison.
    const int64_t align = device_ == Device::cpu ? kAlign : kAlignCuda;
    const int64_t spare = device_ == Device::cpu ? kAlign : 0;
    const int64_t rounded = ceil_div(payload, align) * align + spare;
    if (!counting() && used_ + rounded > capacity_)
        throw std::logic_error(fmt::format("internal error: {} of {} bytes is full: {} used, {} asked for",
                                           what_, capacity_, used_, rounded));
    char* p = counting() ? nullptr : base_ + used_;
    if (p && poison_) {
        std::memset(p, 0xFF, static_cast<size_t>(rounded - kAlign));
        std::memset(p + rounded - kAlign, kCanary, kAlign);
    }
    used_ += rounded;
    peak_ = std::max(peak_, used_);
    TensorRef t(p, dtype, shape, device_);
    return t;
}

void Arena::release(int64_t mark, bool check) {
    if (check) {
        CHECK(mark <= used_);
        if (poison_ && used_ > mark) check_canaries(used_);
    }
    used_ = mark;
}

void Arena::check_canaries(int64_t from) const {
    // Only the topmost canary has a known place; a write past the end of any block that is released last is caught.
    for (int64_t i = from - kAlign; i < from; ++i)
        CHECK(static_cast<unsigned char>(base_[i]) == kCanary && "a kernel wrote past its scratch");
}

}  // namespace adder
