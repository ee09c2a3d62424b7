// Tensor owns memory; TensorRef is a type-erased window on it (plain data, passed by value); View is the typed window.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/view.h"

namespace adder {

// Up to four dimensions; rank 0 stands for "no tensor".
struct Shape {
    static constexpr int kMaxRank = 4;
    int rank = 0;
    std::array<int64_t, kMaxRank> dim{};

    Shape() = default;
    Shape(std::initializer_list<int64_t> dims);
    int64_t operator[](int i) const { return dim[static_cast<size_t>(i)]; }
    int64_t numel() const;
    friend bool operator==(const Shape& a, const Shape& b) { return a.rank == b.rank && a.dim == b.dim; }
};
std::string to_string(const Shape& shape);  // "(2,128,64)"

// Non-owning. Default-constructed = absent (an optional argument that is not given): `if (ref)` tells.
// `data` may be null in a present tensor while memory is only being planned.
struct TensorRef {
    void* data = nullptr;
    DType dtype = DType::none;
    Device device = Device::cpu;
    Shape shape;
    std::array<int64_t, Shape::kMaxRank> stride{};

    TensorRef() = default;
    // A contiguous tensor at `data`.
    TensorRef(void* data, DType dtype, const Shape& shape, Device device = Device::cpu);

    explicit operator bool() const { return shape.rank > 0; }
    int rank() const { return shape.rank; }
    int64_t size(int i) const { return shape[i]; }
    int64_t numel() const { return shape.numel(); }
    int64_t bytes() const { return numel() * size_of(dtype); }
    bool contiguous() const;

    // Elements [begin, begin + count) of dimension `d`.
    TensorRef slice(int d, int64_t begin, int64_t count) const;
    // The same elements under another shape. Contiguous tensors only.
    TensorRef reshape(const Shape& to) const;

    // Typed window. Absent -> a null View. Throws naming `what` when dtype, rank or innermost stride differ.
    template <class T, int R>
    View<T, R> as(const char* what) const {
        View<T, R> v;
        if (!*this) return v;
        check_view(dtype_of<std::remove_const_t<T>>, R, what);
        v.data = static_cast<T*>(data);
        for (int r = 0; r < R; ++r) {
            v.shape[r] = shape[r];
            v.stride[r] = stride[static_cast<size_t>(r)];
        }
        return v;
    }
    // The elements of a contiguous tensor.
    template <class T>
    T* ptr(const char* what) const {
        check_contiguous(dtype_of<std::remove_const_t<T>>, what);
        return static_cast<T*>(data);
    }

  private:
    void check_view(DType want, int want_rank, const char* what) const;
    void check_contiguous(DType want, const char* what) const;
};
std::string describe(const TensorRef& t);  // "f32 (2,128,64)" or "absent"

struct FreeMemory {
    Device device = Device::cpu;
    void operator()(void* p) const;
};

// Owns 64-byte aligned memory (256-byte on a GPU), zeroed on construction. Move-only.
class Tensor {
  public:
    Tensor() = default;
    // `what` names the memory in the Error that a full GPU gives.
    Tensor(DType dtype, const Shape& shape, Device device = Device::cpu, const char* what = "a tensor");
    const TensorRef& ref() const { return ref_; }
    operator TensorRef() const { return ref_; }
    void zero();

  private:
    std::unique_ptr<void, FreeMemory> memory_;
    TensorRef ref_;
};

// Copies between tensors of one dtype and shape: any strides on the CPU, contiguous ones where a GPU takes part. Both
// wait for the GPU; see core/ctx.h for the asynchronous ones.
void copy(const TensorRef& from, const TensorRef& to);
void fill_zero(const TensorRef& t);

// Throws "[op] name: expected f32 (2,128,64), got f32 (2,128,63)" unless `t` has this dtype and shape.
void expect(const char* op, const char* name, const TensorRef& t, DType dtype, const Shape& shape);
// As `expect`, but an absent tensor passes.
void expect_optional(const char* op, const char* name, const TensorRef& t, DType dtype, const Shape& shape);

}  // namespace adder
