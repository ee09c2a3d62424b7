#include "kernels/common/op_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace adder {

namespace {

constexpr int64_t kGuardBytes = 64, kDeviceGuardBytes = 1024;

// Calls f(i, pointer) for every element in order.
template <class F>
void for_elements(const TensorRef& t, F f) {
    const int64_t n = t.numel();
    for (int64_t i = 0; i < n; ++i) {
        int64_t rest = i, offset = 0;
        for (int d = t.rank() - 1; d >= 0; --d) {
            offset += rest % t.size(d) * t.stride[static_cast<size_t>(d)];
            rest /= t.size(d);
        }
        f(static_cast<size_t>(i), static_cast<unsigned char*>(t.data) + offset * size_of(t.dtype));
    }
}

// Calls f(zero of the element type).
template <class F>
void for_type(DType dtype, F f) {
    switch (dtype) {
        case DType::f32: return f(float{});
        case DType::f64: return f(double{});
        case DType::bf16: return f(bf16{});
        case DType::i64: return f(int64_t{});
        case DType::u16: return f(uint16_t{});
        case DType::u8: return f(uint8_t{});
        case DType::none: break;
    }
    CHECK(false && "no case has arrays of this type");
}

double load(DType dtype, const unsigned char* p) {
    double value = 0;
    for_type(dtype, [&](auto x) {
        std::memcpy(&x, p, sizeof x);
        if constexpr (std::is_same_v<decltype(x), bf16>)
            value = static_cast<double>(float_of(x));
        else
            value = static_cast<double>(x);
    });
    return value;
}

void store(DType dtype, unsigned char* p, double value) {
    for_type(dtype, [&](auto x) {
        if constexpr (std::is_same_v<decltype(x), bf16>)
            x = bf16_of(static_cast<float>(value));
        else
            x = static_cast<decltype(x)>(value);
        std::memcpy(p, &x, sizeof x);
    });
}

void poison_elements(const TensorRef& t) {
    for_elements(t, [&](size_t, unsigned char* p) {
        std::memset(p, 0xFF, static_cast<size_t>(size_of(t.dtype)));
    });
}

// From the first element to the end of the last one.
int64_t span_bytes(const TensorRef& t) {
    int64_t last = 0;
    for (int d = 0; d < t.rank(); ++d)
        last += (std::max<int64_t>(t.size(d), 1) - 1) * t.stride[static_cast<size_t>(d)];
    return (last + 1) * size_of(t.dtype);
}

}  // namespace

void Guarded::Unmap::operator()(void* p) const {
    munmap(p, static_cast<size_t>(bytes));
}

Guarded::Guarded(DType dtype, const Shape& shape, Layout layout) : Guarded(dtype, shape, layout, Device::cpu) {}

Guarded::Guarded(DType dtype, const Shape& shape, Layout layout, Device device, bool guards)
    : ref_(nullptr, dtype, shape, device) {
    const int64_t item = size_of(dtype);
    int64_t off_alignment = 0;
    if (layout == Layout::strided && shape.rank >= 2) {
        off_alignment = item;
        int64_t step = shape[shape.rank - 1] + 3;
        for (int d = shape.rank - 2; d >= 0; --d, step = step * shape[d + 1] + 5)
            ref_.stride[static_cast<size_t>(d)] = step;
    }
    if (layout == Layout::huge && shape.rank >= 2) {
        CHECK(device == Device::cpu);
        constexpr int64_t kPast31 = (int64_t{1} << 31) + 64;
        for (int d = 0; d < shape.rank - 1; ++d) ref_.stride[static_cast<size_t>(d)] = kPast31;
        ref_.stride[0] = kPast31 * (shape.rank > 2 ? shape[1] : 1);
        const int64_t bytes = ref_.stride[0] * shape[0] * item;
        void* p = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            fail("cannot map {} bytes of address space for a test of offsets past 2^31", bytes);
        mapped_ = {p, Unmap{bytes}};
        ref_.data = p;
        return;
    }
    const int64_t span = span_bytes(ref_);
    if (device == Device::cuda) {
        const int64_t around = guards ? kDeviceGuardBytes : 0;
        lead_ = around + off_alignment;
        bytes_.assign(static_cast<size_t>(lead_ + span + around), guard());
        return;
    }
    bytes_.assign(static_cast<size_t>(3 * kGuardBytes + off_alignment + span), guard());
    const auto base = reinterpret_cast<uintptr_t>(bytes_.data());
    const int64_t to_aligned = static_cast<int64_t>((kGuardBytes - base % kGuardBytes) % kGuardBytes);
    lead_ = to_aligned + kGuardBytes + off_alignment;
    ref_.data = bytes_.data() + lead_;
}

unsigned char Guarded::guard() const {
    const bool floating = ref_.dtype == DType::f32 || ref_.dtype == DType::bf16 || ref_.dtype == DType::f64;
    return floating ? 0xFF : 0xA5;
}

void Guarded::place(void* memory) {
    CHECK(ref_.device == Device::cuda);
    block_ = memory;
    ref_.data = static_cast<unsigned char*>(memory) + lead_;
    upload(bytes_);
}

TensorRef Guarded::on_host(std::vector<unsigned char>& copy) const {
    if (ref_.device == Device::cpu) return ref_;
    copy.resize(bytes_.size());
    copy_bytes(copy.data(), block_, block_bytes());
    TensorRef t = ref_;
    t.device = Device::cpu;
    t.data = copy.data() + lead_;
    return t;
}

void Guarded::upload(const std::vector<unsigned char>& block) const {
    if (ref_.device == Device::cuda) copy_bytes(block_, block.data(), block_bytes());
}

std::vector<double> Guarded::values() const {
    std::vector<unsigned char> copy;
    return values_of(on_host(copy));
}

std::vector<unsigned char> Guarded::element_bytes() const {
    std::vector<unsigned char> copy;
    return bytes_of(on_host(copy));
}

void Guarded::set(const std::vector<double>& values) {
    std::vector<unsigned char> copy;
    set_values(on_host(copy), values);
    upload(copy);
}

void Guarded::poison() {
    std::vector<unsigned char> copy;
    poison_elements(on_host(copy));
    upload(copy);
}

bool Guarded::intact() const {
    if (mapped_) return true;  // its gaps are too large to read
    std::vector<unsigned char> rest;
    TensorRef there = on_host(rest);
    if (ref_.device == Device::cpu) {
        rest = bytes_;
        there.data = rest.data() + lead_;
    }
    for_elements(there, [&](size_t, unsigned char* p) {
        std::memset(p, guard(), static_cast<size_t>(size_of(ref_.dtype)));
    });
    return std::all_of(rest.begin(), rest.end(), [this](unsigned char b) { return b == guard(); });
}

std::vector<double> values_of(const TensorRef& t) {
    std::vector<double> v(static_cast<size_t>(t.numel()));
    for_elements(t, [&](size_t i, unsigned char* p) { v[i] = load(t.dtype, p); });
    return v;
}

void set_values(const TensorRef& t, const std::vector<double>& values) {
    CHECK(static_cast<int64_t>(values.size()) == t.numel());
    for_elements(t, [&](size_t i, unsigned char* p) { store(t.dtype, p, values[i]); });
}

std::vector<unsigned char> bytes_of(const TensorRef& t) {
    const auto item = static_cast<size_t>(size_of(t.dtype));
    std::vector<unsigned char> v(static_cast<size_t>(t.numel()) * item);
    for_elements(t, [&](size_t i, unsigned char* p) { std::memcpy(v.data() + i * item, p, item); });
    return v;
}

double rounded_to(DType dtype, double value) {
    unsigned char item[8];
    store(dtype, item, value);
    return load(dtype, item);
}

}  // namespace adder
