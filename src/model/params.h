// Parameters are listed once, by `Layer::visit`; allocation, initialisation, optimizer groups, checkpoints, counting and
// `info` all walk that list.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

// A layer's handle on one of its parameters; bound to memory by ParamStore.
struct Param {
    TensorRef value;   // what kernels read: the master or its bf16 copy
    TensorRef grad;    // accumulation type; absent in a model that is not trained
    TensorRef master;  // accumulation type: what the optimizer updates and checkpoints store
};

// storage: kernels read it in the storage type; accum: in the accumulation type, whatever the storage type.
enum class Precision : uint8_t { storage, accum };

struct ParamKind {
    bool decay;  // weight decay applies
    Precision precision;
};
inline constexpr ParamKind kMatrix{true, Precision::storage};  // weights of linear maps and embeddings
inline constexpr ParamKind kWideMatrix{true, Precision::accum};  // of a classifier: small, and all that it learns
inline constexpr ParamKind kTaps{true, Precision::accum};      // of short convolutions
inline constexpr ParamKind kVector{false, Precision::accum};   // biases, norms, decays, skips

// What the optimizer does with it. frozen: nothing; its gradient is not computed. head: trained at a rate of its own.
enum class ParamGroup : uint8_t { model, frozen, head };

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
    ParamKind kind = kMatrix;
    ParamGroup group = ParamGroup::model;
};

// Receives each parameter once. `prefix` is maintained by containers through `nested`.
class ParamVisitor {
  public:
    virtual ~ParamVisitor() = default;
    void operator()(const char* name, Param& param, const Shape& shape, const Init& init, ParamKind kind,
                    const Shape& file_shape = {});
    template <class Visit>
    void nested(const std::string& part, Visit visit) {
        const size_t length = prefix_.size();
        prefix_ += part;
        visit();
        prefix_.resize(length);
    }

    // Parameters that are visited inside are of this group.
    template <class Visit>
    void grouped(ParamGroup group, Visit visit) {
        const ParamGroup before = std::exchange(group_, group);
        visit();
        group_ = before;
    }

  protected:
    virtual void on_param(const ParamSpec& spec, Param& param) = 0;

  private:
    std::string prefix_;
    ParamGroup group_ = ParamGroup::model;
};

// Sizes of a model's parameters in memory, where each starts at an aligned place.
struct ParamSizes {
    int64_t count = 0;     // elements
    int64_t elements = 0;  // of the buffers of masters, gradients and moments: with the gaps
    int64_t copied = 0;    // of the buffer of bf16 copies, which only bf16 storage has

    // The place of a parameter in the two buffers, in elements, and moves on behind it.
    struct Place {
        int64_t master, copy;
    };
    Place add(const ParamSpec& spec);
    int64_t bytes(DType storage, bool with_gradients) const;
};

// Owns the memory of a model's parameters and, when trained, their gradients: one buffer of masters, one of gradients and,
// where the storage type is bf16, one of copies.
class ParamStore {
  public:
    struct Entry {
        ParamSpec spec;
        Param* param;
        int64_t offset;  // in the buffers of masters, gradients and moments
    };
    // `visit` walks the model; `storage` is the type that kernels read matrices in.
    ParamStore(const std::function<void(ParamVisitor&)>& visit, DType storage, bool with_gradients,
               Device device = Device::cpu);

    const std::vector<Entry>& entries() const { return entries_; }
    const ParamSizes& sizes() const { return sizes_; }
    Device device() const { return masters_.ref().device; }
    const TensorRef& masters() const { return masters_.ref(); }
    const TensorRef& gradients() const { return grads_.ref(); }

    // Values depend on (seed, name, element) alone.
    void initialise(uint64_t seed);
    // After masters were written from the host: their copies follow, rounded to nearest even.
    void refresh_copies();
    void zero_gradients(const Ctx& ctx);
    int64_t count() const { return sizes_.count; }
    int64_t bytes() const { return masters_.ref().bytes() + grads_.ref().bytes() + copies_.ref().bytes(); }

  private:
    std::vector<Entry> entries_;
    ParamSizes sizes_;
    Tensor masters_, grads_, copies_;
};

// The elements of a contiguous tensor where the host can read and write them: the tensor itself on the CPU, a copy on a GPU.
class HostCopy {
  public:
    explicit HostCopy(const TensorRef& tensor);
    const TensorRef& ref() const { return at_; }
    void upload() const;  // what was written here goes back to the tensor

  private:
    TensorRef tensor_, at_;
    Tensor copy_;
};

}  // namespace adder
