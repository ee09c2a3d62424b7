// Parameters are listed once, by `Layer::visit`; allocation, initialisation, optimizer groups, checkpoints, counting and
// `info` all walk that list.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace adder {

// A layer's handle on one of its parameters; bound to memory by ParamStore.
struct Param {
    TensorRef value;  // storage type
    TensorRef grad;   // accumulation type; absent in a model that is not trained
};

// How a parameter starts. Source of the values: state-spaces/mamba and the papers, see each mixer.
struct Init {
    enum class Kind : uint8_t {
        constant,       // a
        normal,         // mean 0, standard deviation a
        uniform,        // in [a, b)
        log_arange,     // log(1 + column): A_log of Mamba-1 (S4D-Real)
        log_uniform,    // log of uniform in [a, b): A_log of Mamba-2
        inverse_softplus_log_uniform,  // dt bias: softplus of it is log-uniform in [a, b), at least `floor`
    };
    Kind kind = Kind::constant;
    double a = 0, b = 0, floor = 0;
};

struct ParamSpec {
    std::string name;   // without the prefix of what contains it
    Shape shape;        // as kernels see it
    Shape file_shape;   // as checkpoints store it: the same elements
    Init init;
    bool decay = true;  // weight decay applies
};

// Receives each parameter once. `prefix` is maintained by containers through `nested`.
class ParamVisitor {
  public:
    virtual ~ParamVisitor() = default;
    void operator()(const char* name, Param& param, const Shape& shape, const Init& init, bool decay,
                    const Shape& file_shape = {});
    template <class Visit>
    void nested(const std::string& part, Visit visit) {
        const size_t length = prefix_.size();
        prefix_ += part;
        visit();
        prefix_.resize(length);
    }

  protected:
    virtual void on_param(const ParamSpec& spec, Param& param) = 0;

  private:
    std::string prefix_;
};

// Owns the memory of a model's parameters and, when trained, their gradients.
class ParamStore {
  public:
    struct Entry {
        ParamSpec spec;
        Param* param;
    };
    // `visit` walks the model; `storage` is the type of the values.
    ParamStore(const std::function<void(ParamVisitor&)>& visit, DType storage, bool with_gradients);

    const std::vector<Entry>& entries() const { return entries_; }
    // Values depend on (seed, name, element) alone.
    void initialise(uint64_t seed);
    void zero_gradients();
    int64_t count() const;  // elements
    int64_t bytes() const;

  private:
    std::vector<Entry> entries_;
    Tensor values_, grads_;
};

}  // namespace adder
