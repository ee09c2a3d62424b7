// The numbers and the memory of one case: what the checks and the timing of ops stand on.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "kernels/common/op_case.h"
#include "kernels/common/op_memory.h"

namespace adder {

// Where an op runs and on which storage type: f32 or f64 on the CPU, f32 or bf16 on a GPU. A GPU is needed only to
// run; planning does without.
struct RunOn {
    DType storage = DType::f32;
    Device device = Device::cpu;
    Gpu* gpu = nullptr;
    int threads = 2;
    bool repeat = true;  // values: run again, to see that bits and inputs stay
    bool exact = false;  // GPU: memory of its own and of its exact size for every array, which a memory checker can watch
};

// The type of every array of a case, by name, gradients included.
std::map<std::string, DType> array_types(const OpCase& c, DType storage);
// Whether anything of a run in bf16 differs from a run in f32.
bool has_storage(const OpCase& c);

// Random inputs and cotangents of a case, and starting contents of parameter gradients, rounded to f32, or to bf16
// where the array is of that type, so that every precision sees the same numbers. Depends on nothing but the case.
Bag<double> make_inputs(const OpCase& c, DType storage = DType::f32);

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
// Those of them that are not left in a cotangent's array, with the input whose gradient it is.
std::vector<std::pair<std::string, const ArraySpec*>> own_gradients(const OpCase& c);

// An array of a bag, whether of the bag's scalar type or of its own.
std::vector<double> numbers_in(const Bag<double>& bag, const std::string& name);
void put_numbers(Bag<double>& bag, const ArraySpec& spec, const std::vector<double>& values);

// Rows [b0, b0 + part.B) and steps [t0, t0 + part.L) of a bag that belongs to `c`. States are cut in b only.
// Arrays that `part` lacks are left out.
Bag<double> slice_bag(const OpCase& c, const OpCase& part, const Bag<double>& bag, int64_t b0, int64_t t0);

// The arguments of a case without memory, as planning sees them.
TensorBag planned_bag(const OpCase& c, DType storage, Device device);

// An op's arguments in guarded memory, at one precision and layout.
class Instance {
  public:
    // `numbers` as make_inputs gives them for this storage type.
    Instance(const OpCase& c, const Bag<double>& numbers, const RunOn& on, Layout layout = Layout::contiguous);
    // On the CPU, in f32 or f64.
    Instance(const OpCase& c, const Bag<double>& numbers, DType real, Layout layout = Layout::contiguous)
        : Instance(c, numbers, RunOn{.storage = real}, layout) {}

    TensorBag& bag() { return bag_; }
    // On the CPU through the bag, whose windows a test may have changed.
    std::vector<double> values(const std::string& name) const;
    std::vector<unsigned char> bytes(const std::string& name) const;
    void set(const std::string& name, const std::vector<double>& values);

    // Outputs to NaN or to what they start as; gradients and cotangents to their starting contents.
    void reset();
    // As if made with these numbers.
    void reset(const Bag<double>& numbers);
    // Plan with null data, then run with poisoned scratch of exactly the planned size.
    void forward(ThreadPool& pool) { call(case_.forward, pool); }
    void backward(ThreadPool& pool) { call(case_.backward, pool); }
    void step(ThreadPool& pool) { call(case_.step, pool); }
    // The name of an array whose surroundings were written, or "".
    std::string damaged() const;

  private:
    void add(const ArraySpec& spec, const std::string& name, Layout layout);
    void place_on_gpu();
    void call(const std::function<void(Ctx&, TensorBag&)>& f, ThreadPool& pool);
    void call_on_gpu(const std::function<void(Ctx&, TensorBag&)>& f, Ctx& ctx, int64_t scratch_bytes);

    OpCase case_;
    Bag<double> numbers_;
    RunOn on_;
    std::map<std::string, DType> types_;
    std::vector<Tensor> blocks_;  // on the GPU
    std::map<std::string, Guarded> memory_;
    TensorBag bag_;
    std::string damaged_scratch_;
};

}  // namespace adder
