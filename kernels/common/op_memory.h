// Memory for the arrays of a case: between guard bytes, at the layouts that an op must bear, on the CPU or on a GPU.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace adder {

// contiguous: as a fresh tensor. strided: activations have padded rows and a first element off the alignment.
// huge: activations have time and batch strides past 2^31 elements, over memory that is mapped but mostly
// never touched; CPU only.
enum class Layout : uint8_t { contiguous, strided, huge };

// Memory for one tensor between guard bytes: NaN for floating types, so that what is read there shows too.
class Guarded {
  public:
    Guarded(DType dtype, const Shape& shape, Layout layout);
    // On a GPU, at a place of block_bytes() that comes by `place`. Without `guards` nothing surrounds the elements.
    Guarded(DType dtype, const Shape& shape, Layout layout, Device device, bool guards = true);
    Guarded(const Guarded&) = delete;
    Guarded(Guarded&&) = default;
    ~Guarded() = default;

    int64_t block_bytes() const { return static_cast<int64_t>(bytes_.size()); }
    void place(void* memory);

    // Where the op finds it.
    const TensorRef& ref() const { return ref_; }
    // Elements in order, whatever the strides.
    std::vector<double> values() const;
    void set(const std::vector<double>& values);
    std::vector<unsigned char> element_bytes() const;
    void poison();        // every element NaN (floating) or 255
    bool intact() const;  // nothing outside the elements was written

  private:
    struct Unmap {
        int64_t bytes;
        void operator()(void* p) const;
    };
    unsigned char guard() const;
    // The elements on the host: in place, or on a GPU in `copy`, which becomes a copy of the block.
    TensorRef on_host(std::vector<unsigned char>& copy) const;
    void upload(const std::vector<unsigned char>& block) const;

    std::vector<unsigned char> bytes_;  // the block; of a block on a GPU what is first put there
    int64_t lead_ = 0;                  // bytes of the block before the first element
    std::unique_ptr<void, Unmap> mapped_;
    void* block_ = nullptr;  // on the GPU
    TensorRef ref_;
};

// Elements in order, whatever the strides. The tensor is on the CPU.
std::vector<double> values_of(const TensorRef& t);
void set_values(const TensorRef& t, const std::vector<double>& values);
std::vector<unsigned char> bytes_of(const TensorRef& t);

// The nearest number of this type.
double rounded_to(DType dtype, double value);

}  // namespace adder
