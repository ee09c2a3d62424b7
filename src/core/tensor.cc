#include "core/tensor.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace adder {

namespace {
constexpr size_t kAlign = 64;
}

Shape::Shape(std::initializer_list<int64_t> dims) {
    CHECK(dims.size() <= kMaxRank);
    for (int64_t d : dims) {
        CHECK(d >= 0);
        dim[static_cast<size_t>(rank++)] = d;
    }
}

int64_t Shape::numel() const {
    int64_t n = rank > 0 ? 1 : 0;
    for (int i = 0; i < rank; ++i)
        if (__builtin_mul_overflow(n, (*this)[i], &n)) fail("a tensor of shape {} is too large", to_string(*this));
    return n;
}

std::string to_string(const Shape& shape) {
    std::string s = "(";
    for (int i = 0; i < shape.rank; ++i) s += (i ? "," : "") + std::to_string(shape[i]);
    return s + ")";
}

TensorRef::TensorRef(void* data_, DType dtype_, const Shape& shape_, Device device_)
    : data(data_), dtype(dtype_), device(device_), shape(shape_) {
    int64_t step = 1;
    for (int i = shape.rank - 1; i >= 0; --i) {
        stride[static_cast<size_t>(i)] = step;
        step *= shape[i];
    }
}

bool TensorRef::contiguous() const {
    int64_t step = 1;
    for (int i = shape.rank - 1; i >= 0; --i) {
        if (shape[i] != 1 && stride[static_cast<size_t>(i)] != step) return false;
        step *= shape[i];
    }
    return true;
}

TensorRef TensorRef::slice(int d, int64_t begin, int64_t count) const {
    CHECK(d >= 0 && d < shape.rank && begin >= 0 && count >= 0 && begin + count <= shape[d]);
    TensorRef t = *this;
    t.shape.dim[static_cast<size_t>(d)] = count;
    if (data) t.data = static_cast<char*>(data) + begin * stride[static_cast<size_t>(d)] * size_of(dtype);
    return t;
}

TensorRef TensorRef::reshape(const Shape& to) const {
    CHECK(contiguous() && to.numel() == numel());
    return TensorRef(data, dtype, to, device);
}

void TensorRef::check_view(DType want, int want_rank, const char* what) const {
    if (dtype != want || shape.rank != want_rank)
        fail("{}: expected {} of rank {}, got {}", what, name_of(want), want_rank, describe(*this));
    if (shape[want_rank - 1] > 1 && stride[static_cast<size_t>(want_rank - 1)] != 1)
        fail("{}: the innermost stride must be 1, is {}", what, stride[static_cast<size_t>(want_rank - 1)]);
}

void TensorRef::check_contiguous(DType want, const char* what) const {
    if (dtype != want || !contiguous())
        fail("{}: expected a contiguous {} tensor, got {}", what, name_of(want), describe(*this));
}

std::string describe(const TensorRef& t) {
    if (!t) return "absent";
    return std::string(name_of(t.dtype)) + " " + to_string(t.shape);
}

Tensor::Tensor(DType dtype, const Shape& shape, Device device, const char* what) {
    const int64_t bytes = shape.numel() * size_of(dtype);
    if (device == Device::cuda) {
        memory_ = {device_alloc(bytes, what), FreeMemory{device}};
        ref_ = TensorRef(memory_.get(), dtype, shape, device);
        return;
    }
    const size_t rounded = (static_cast<size_t>(bytes) + kAlign - 1) / kAlign * kAlign;
    void* p = std::aligned_alloc(kAlign, rounded ? rounded : kAlign);
    if (!p) throw std::bad_alloc();
    memory_.reset(p);
    ref_ = TensorRef(p, dtype, shape);
    zero();
}

void Tensor::zero() { fill_zero(ref_); }

void FreeMemory::operator()(void* p) const { device == Device::cpu ? std::free(p) : device_free(p); }

namespace {

// Calls run(offset_a, offset_b, bytes) for every maximal contiguous row of two equally shaped tensors.
template <class Run>
void for_rows(const TensorRef& a, const TensorRef& b, Run run) {
    if (a.numel() == 0) return;
    const int64_t item = size_of(a.dtype);
    if (a.contiguous() && b.contiguous()) return run(0, 0, a.bytes());
    const int last = a.shape.rank - 1;
    const int64_t row = a.shape[last];
    const int64_t rows = a.numel() / row;
    for (int64_t i = 0; i < rows; ++i) {
        int64_t rest = i, at_a = 0, at_b = 0;
        for (int d = last - 1; d >= 0; --d) {
            const int64_t k = rest % a.shape[d];
            rest /= a.shape[d];
            at_a += k * a.stride[static_cast<size_t>(d)];
            at_b += k * b.stride[static_cast<size_t>(d)];
        }
        run(at_a * item, at_b * item, row * item);
    }
}

}  // namespace

void copy(const TensorRef& from, const TensorRef& to) {
    CHECK(from.dtype == to.dtype && from.shape == to.shape);
    if (from.device == Device::cuda || to.device == Device::cuda) {
        CHECK(from.contiguous() && to.contiguous());
        return copy_bytes(to.data, from.data, from.bytes());
    }
    for_rows(from, to, [&](int64_t a, int64_t b, int64_t bytes) {
        std::memcpy(static_cast<char*>(to.data) + b, static_cast<const char*>(from.data) + a,
                    static_cast<size_t>(bytes));
    });
}

void fill_zero(const TensorRef& t) {
    if (t.device == Device::cuda) {
        CHECK(t.contiguous());
        return zero_device_bytes(t.data, t.bytes());
    }
    for_rows(t, t, [&](int64_t a, int64_t, int64_t bytes) {
        std::memset(static_cast<char*>(t.data) + a, 0, static_cast<size_t>(bytes));
    });
}

void expect(const char* op, const char* name, const TensorRef& t, DType dtype, const Shape& shape) {
    if (t.dtype == dtype && t.shape == shape) return;
    fail("[{}] {}: expected {} {}, got {}", op, name, name_of(dtype), to_string(shape), describe(t));
}

void expect_optional(const char* op, const char* name, const TensorRef& t, DType dtype, const Shape& shape) {
    if (t) expect(op, name, t, dtype, shape);
}

}  // namespace adder
