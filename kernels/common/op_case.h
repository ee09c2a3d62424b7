// How an op describes itself to the tests, to `adder selftest` and to `adder bench`: a table of cases, the
// arrays of a case, its plain reference and its public functions. op_check.h and op_bench.h do the rest.
//
// An op supplies, in kernels/<op>/<op>_cases.h, a struct with these static members (P below):
//   op                                     its name
//   struct Case { unsigned use; int64_t B, L; ... }     and   cases() -> std::span<const Case>, name(case)
//   sequence                               true: dimension 1 of every activation is time
//   inputs(case), outputs(case)            -> std::vector<ArraySpec>
//   ref_forward<S>(case, Bag<S>&), ref_backward<S>(case, Bag<S>&)
//   forward(ctx, case, TensorBag&), backward(ctx, case, TensorBag&)
// and where it applies
//   part(case, B, L, state) -> Case        the same case for B rows of L steps; it takes an initial state if
//                                          `state`, and always returns the final state and takes its gradient
//                                          (sequence ops)
//   step(ctx, case, TensorBag&)            one step in place: L = 1, the final state holds the state before and after
//   ref_forward_not_vectorized(case, Bag<float>&), ref_backward_not_vectorized(...)    for `bench`; not_vectorized.h
// An op without gradients leaves out ref_backward and backward.
//
// Names tie arrays together: the gradient of `x` is `d_x`. Before backward, d_<output> holds its cotangent,
// parameter gradients hold arbitrary numbers (they are +=) and other gradients hold NaN (they are =).
// Functions take all sizes from the arrays in the bag, whose absent members are absent arguments.
#pragma once
#include <complex>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

enum CaseUse : unsigned {
    kTest = 1,  // every check but those below
    kGrad = 2,  // reference backward against the complex step; at most 2,000 input numbers
    kBench = 4,
    kSelftest = 8,
    kHuge = 16,       // also with batch and time strides past 2^31 elements
    kBenchCuda = 32,  // of a GPU's size: numbers made on the device, never on the host
    kSanitize = 64,   // also under tools that watch every access: together these run every kernel of the op's
                      // CUDA twin
};

// activation: of the storage type, (B,L,...); also run with padded rows unless dense()
// state:      (B,...), handed from call to call. The cotangent of a state that continues another becomes its gradient
//             in place: give the input .gradient_in("d_<output>"), and pass that array whether or not the input is there
// parameter:  shared by all rows; its gradient accumulates
// saved:      an output that forward keeps for backward in a form of the op's own; no reference knows it
enum class Kind : uint8_t { activation, state, parameter, saved };

// starts: u8 start flags, with members of length 1. tokens: u16 below `hi`. unit: 1, 0, 0, ... For an output,
// the fill of its cotangent.
enum class Fill : uint8_t { normal, uniform, starts, tokens, unit };

// Which of a run's two types an array has. A run in bf16 has storage bf16 and accumulation type f32 ("S" in the headers of
// the ops), in f32 and f64 both are the same. by_kind: activations are storage, everything else is S.
enum class Precision : uint8_t { by_kind, storage, accum };

struct ArraySpec {
    std::string name;
    Shape shape;
    Kind kind = Kind::activation;
    Fill fill = Fill::normal;
    double lo = 0, hi = 1;       // normal: mean, standard deviation; uniform: range
    DType dtype = DType::none;   // none: as `precision` and the run say
    Precision precision = Precision::by_kind;
    Precision gradient_precision = Precision::by_kind;  // by_kind: of a parameter S, of others as the array
    int64_t every = 1;           // of (B,L): steps but multiples of this are zero, where numbers are made on the host
    bool differentiable = true;  // an input's gradient, an output's cotangent exists
    bool contiguous = false;     // never given padded rows
    bool zero = false;           // output or gradient expected to be exactly zero
    bool nan_is_error = false;   // the op refuses a NaN
    int open_dim = -1;           // a dimension that no other argument fixes
    std::string gradient;        // where backward leaves the gradient; default "d_" + name
    std::string continues;       // a final state: the input state it continues
    std::string starts_as;       // an output updated in place: holds this input's numbers before the call

    static ArraySpec activation(std::string name, const Shape& shape) {
        return make(std::move(name), shape, Kind::activation);
    }
    static ArraySpec state(std::string name, const Shape& shape) {
        return make(std::move(name), shape, Kind::state);
    }
    static ArraySpec parameter(std::string name, const Shape& shape) {
        return make(std::move(name), shape, Kind::parameter);
    }
    static ArraySpec start_flags(std::string name, int64_t B, int64_t L);
    static ArraySpec token_ids(std::string name, int64_t B, int64_t L, int64_t V);
    static ArraySpec saved(std::string name, const Shape& shape, DType dtype = DType::none);

    ArraySpec&& normal(double mean, double deviation) &&;
    ArraySpec&& uniform(double from, double to) &&;
    ArraySpec&& below(int64_t n) &&;  // whole numbers from 0 on
    ArraySpec&& unit() && {
        fill = Fill::unit;
        return std::move(*this);
    }
    ArraySpec&& of(DType t) && {
        dtype = t;
        return std::move(*this);
    }
    ArraySpec&& storage() && {
        precision = Precision::storage;
        return std::move(*this);
    }
    ArraySpec&& accum() && {
        precision = Precision::accum;
        return std::move(*this);
    }
    ArraySpec&& fixed() && {
        differentiable = false;
        return std::move(*this);
    }
    ArraySpec&& never_nan() && {
        nan_is_error = true;
        return std::move(*this);
    }
    ArraySpec&& dense() && {
        contiguous = true;
        return std::move(*this);
    }
    ArraySpec&& open(int d) && {
        open_dim = d;
        return std::move(*this);
    }
    ArraySpec&& gradient_in(std::string array) && {
        gradient = std::move(array);
        return std::move(*this);
    }
    ArraySpec&& continuing(std::string input) && {
        continues = std::move(input);
        return std::move(*this);
    }
    ArraySpec&& starting_as(std::string input) && {
        starts_as = std::move(input);
        return std::move(*this);
    }

    std::string gradient_name() const { return gradient.empty() ? "d_" + name : gradient; }
    // In a run of this storage type: the type of the array, and of its gradient or cotangent.
    DType dtype_in(DType storage) const;
    DType gradient_dtype_in(DType storage) const;

  private:
    static ArraySpec make(std::string name, const Shape& shape, Kind kind);
};

// The arrays of a reference run, contiguous, by name. Integers, and inputs of a fixed type, keep their own
// type.
template <class S>
class Bag {
  public:
    int64_t t0 = 0;  // absolute position of the first row

    bool has(const std::string& name) const { return arrays_.count(name) > 0 || raw_.count(name) > 0; }
    // Null views when absent.
    template <int R>
    View<const S, R> in(const std::string& name) const {
        const View<S, R> v = out<R>(name);
        View<const S, R> c;
        c.data = v.data;
        for (int r = 0; r < R; ++r) c.shape[r] = v.shape[r], c.stride[r] = v.stride[r];
        return c;
    }
    template <int R>
    View<S, R> out(const std::string& name) const {
        View<S, R> v;
        const auto it = arrays_.find(name);
        if (it == arrays_.end()) return v;
        CHECK(it->second.shape.rank == R);
        v.data = it->second.values->data();
        const TensorRef t(nullptr, DType::f32, it->second.shape);
        for (int r = 0; r < R; ++r) v.shape[r] = t.shape[r], v.stride[r] = t.stride[static_cast<size_t>(r)];
        return v;
    }
    template <class T, int R>
    View<const T, R> raw(const std::string& name) const {
        const auto it = raw_.find(name);
        return it == raw_.end() ? View<const T, R>{}
                                : it->second->ref().template as<const T, R>(name.c_str());
    }
    View<const uint8_t, 2> flags(const std::string& name) const { return raw<uint8_t, 2>(name); }
    View<const uint16_t, 2> tokens(const std::string& name) const { return raw<uint16_t, 2>(name); }

    // For the driver. Copies of a bag share the raw arrays, which nobody writes, and own the others.
    struct Array {
        Shape shape;
        std::shared_ptr<std::vector<S>> values;
    };
    void put(const std::string& name, const Shape& shape, std::vector<S> values) {
        CHECK(static_cast<int64_t>(values.size()) == shape.numel());
        arrays_[name] = {shape, std::make_shared<std::vector<S>>(std::move(values))};
    }
    void put_raw(const std::string& name, Tensor t) { raw_[name] = std::make_shared<Tensor>(std::move(t)); }
    void erase(const std::string& name) { arrays_.erase(name), raw_.erase(name); }
    std::vector<S>& at(const std::string& name) { return *arrays_.at(name).values; }
    const std::vector<S>& at(const std::string& name) const { return *arrays_.at(name).values; }
    const std::map<std::string, Array>& arrays() const { return arrays_; }
    const std::map<std::string, std::shared_ptr<Tensor>>& raws() const { return raw_; }
    template <class To>
    Bag<To> as() const {
        Bag<To> b;
        b.t0 = t0;
        for (const auto& [name, a] : arrays_)
            b.put(name, a.shape, std::vector<To>(a.values->begin(), a.values->end()));
        b.raw_ = raw_;
        return b;
    }

  private:
    template <class>
    friend class Bag;
    std::map<std::string, Array> arrays_;
    std::map<std::string, std::shared_ptr<Tensor>> raw_;
};

// The arguments of one call of an op, by name.
class TensorBag {
  public:
    int64_t t0 = 0;  // absolute position of the first row

    TensorRef operator[](const std::string& name) const {
        const auto it = tensors.find(name);
        return it == tensors.end() ? TensorRef() : it->second;
    }
    std::map<std::string, TensorRef> tensors;
};

// One reference pass, at the three scalar types; `not_vectorized` is empty unless the op measures it.
struct RefPass {
    std::function<void(Bag<float>&)> f32, not_vectorized;
    std::function<void(Bag<double>&)> f64;
    std::function<void(Bag<std::complex<double>>&)> complex;
};

// A case with the op's type erased.
struct OpCase {
    std::string op, name;
    unsigned use = 0;
    int64_t B = 0, L = 0;
    bool sequence = false;
    std::vector<ArraySpec> inputs, outputs;
    RefPass ref_forward, ref_backward;
    std::function<void(Ctx&, TensorBag&)> forward, backward,
        step;  // backward, step: empty where the op has none
    std::function<OpCase(int64_t B, int64_t L, bool state)> part;

    std::string title() const { return op + " " + name; }
};

template <class P>
OpCase op_case(const typename P::Case& given) {
    using C = std::complex<double>;
    OpCase o;
    o.op = P::op;
    o.name = P::name(given);
    o.use = given.use;
    o.B = given.B;
    o.L = given.L;
    o.sequence = P::sequence;
    o.inputs = P::inputs(given);
    o.outputs = P::outputs(given);
    const auto c = given;
    o.ref_forward.f32 = [c](Bag<float>& b) { P::template ref_forward<float>(c, b); };
    o.ref_forward.f64 = [c](Bag<double>& b) { P::template ref_forward<double>(c, b); };
    o.forward = [c](Ctx& ctx, TensorBag& b) { P::forward(ctx, c, b); };
    if constexpr (requires { P::backward; }) {
        o.ref_forward.complex = [c](Bag<C>& b) { P::template ref_forward<C>(c, b); };
        o.ref_backward.f32 = [c](Bag<float>& b) { P::template ref_backward<float>(c, b); };
        o.ref_backward.f64 = [c](Bag<double>& b) { P::template ref_backward<double>(c, b); };
        o.backward = [c](Ctx& ctx, TensorBag& b) { P::backward(ctx, c, b); };
    }
    if constexpr (requires { P::ref_forward_not_vectorized; }) {
        o.ref_forward.not_vectorized = [c](Bag<float>& b) { P::ref_forward_not_vectorized(c, b); };
        o.ref_backward.not_vectorized = [c](Bag<float>& b) { P::ref_backward_not_vectorized(c, b); };
    }
    if constexpr (requires { P::step; }) o.step = [c](Ctx& ctx, TensorBag& b) { P::step(ctx, c, b); };
    if constexpr (P::sequence)
        o.part = [c](int64_t B, int64_t L, bool state) { return op_case<P>(P::part(c, B, L, state)); };
    return o;
}

template <class P>
std::vector<OpCase> op_cases() {
    std::vector<OpCase> all;
    for (const auto& c : P::cases()) all.push_back(op_case<P>(c));
    return all;
}

}  // namespace adder
