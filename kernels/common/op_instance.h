// The numbers and the memory of one case: what the checks and the timing of ops stand on.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kernels/common/op_case.h"

namespace adder {

// contiguous: as a fresh tensor. strided: activations have padded rows and a first element off the alignment.
// huge: activations have time and batch strides past 2^31 elements, over memory that is mapped but mostly
// never touched.
enum class Layout : uint8_t { contiguous, strided, huge };

// Random inputs and cotangents of a case, and starting contents of parameter gradients, rounded to f32 so
// that every precision sees the same numbers. Depends on nothing but the case.
Bag<double> make_inputs(const OpCase& c);

// Adds the outputs, then the gradients, that a reference writes: NaN unless they start as something.
template <class S>
void add_outputs(const OpCase& c, Bag<S>& bag);
template <class S>
void add_gradients(const OpCase& c, Bag<S>& bag);

// The arrays that hold gradients after backward, each once, with whether it must be exactly zero.
struct GradientArray {
    std::string name;
    bool parameter = false, zero = false;
    int open_dim = -1;
};
std::vector<GradientArray> gradient_arrays(const OpCase& c);

// Rows [b0, b0 + part.B) and steps [t0, t0 + part.L) of a bag that belongs to `c`. States are cut in b only.
// Arrays that `part` lacks are left out.
Bag<double> slice_bag(const OpCase& c, const OpCase& part, const Bag<double>& bag, int64_t b0, int64_t t0);

// Memory for one tensor between guard bytes.
class Guarded {
  public:
    Guarded(DType dtype, const Shape& shape, Layout layout);
    Guarded(const Guarded&) = delete;
    Guarded(Guarded&&) = default;
    ~Guarded() = default;
    const TensorRef& ref() const { return ref_; }
    void poison();        // every element NaN (floating) or 255
    bool intact() const;  // nothing outside the elements was written

  private:
    struct Unmap {
        int64_t bytes;
        void operator()(void* p) const;
    };
    std::vector<unsigned char> bytes_;
    std::unique_ptr<void, Unmap> mapped_;
    TensorRef ref_;
};

// Elements in order, whatever the strides.
std::vector<double> values_of(const TensorRef& t);
void set_values(const TensorRef& t, const std::vector<double>& values);
std::vector<unsigned char> bytes_of(const TensorRef& t);

// An op's arguments in guarded memory, at one precision and layout.
class Instance {
  public:
    // `numbers` as make_inputs gives them; `real` is f32 or f64.
    Instance(const OpCase& c, const Bag<double>& numbers, DType real, Layout layout = Layout::contiguous);

    TensorBag& bag() { return bag_; }
    std::vector<double> values(const std::string& name) const { return values_of(bag_[name]); }
    std::vector<unsigned char> bytes(const std::string& name) const { return bytes_of(bag_[name]); }
    void set(const std::string& name, const std::vector<double>& values) { set_values(bag_[name], values); }

    // Outputs to NaN or to what they start as; gradients and cotangents to their starting contents.
    void reset();
    // Plan with null data, then run with poisoned scratch of exactly the planned size.
    void forward(ThreadPool& pool) { call(case_.forward, pool); }
    void backward(ThreadPool& pool) { call(case_.backward, pool); }
    void step(ThreadPool& pool) { call(case_.step, pool); }
    // The name of an array whose surroundings were written, or "".
    std::string damaged() const;

  private:
    void add(const ArraySpec& spec, const std::string& name, DType dtype, Layout layout);
    void call(const std::function<void(Ctx&, TensorBag&)>& f, ThreadPool& pool);

    OpCase case_;
    Bag<double> numbers_;
    std::map<std::string, Guarded> memory_;
    TensorBag bag_;
};

}  // namespace adder
