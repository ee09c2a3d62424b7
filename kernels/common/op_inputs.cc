// The numbers of a case.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/rng.h"
#include "kernels/common/op_instance.h"

namespace adder {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Starts next to each other, at the ends, two before the middle and around 64, where chunks of the ops end;
// row 0 does not begin with one, so that a state before it matters.
bool start_at(const Philox& random, int64_t b, int64_t t, int64_t L) {
    const int64_t half = L / 2;
    switch (b % 3) {
        case 0:
            return t > 0 && (t == half - 2 || t == half || t == half + 1 || t == L - 1);
        case 1:
            return t == 0 || t == 62 || t == 64 || t == L - 2;
        default:
            return t > 0 && random.uniform(static_cast<uint64_t>(b * L + t), 1u << 31) < 0.2;
    }
}

double number(const ArraySpec& s, const Philox& random, uint32_t ordinal, int64_t i) {
    const auto at = static_cast<uint64_t>(i);
    if (s.every > 1 && i % s.shape[1] % s.every != 0) return 0;
    switch (s.fill) {
        case Fill::normal:
            return s.lo + s.hi * random.normal(at, ordinal);
        case Fill::uniform:
            return s.lo + (s.hi - s.lo) * random.uniform(at, ordinal);
        case Fill::tokens:
            return static_cast<double>(random.below(static_cast<uint64_t>(s.hi), at, ordinal));
        case Fill::unit:
            return i == 0 ? 1 : 0;
        case Fill::starts:
            return start_at(random, i / s.shape[1], i % s.shape[1], s.shape[1]) ? 1 : 0;
    }
    return 0;
}

std::vector<double> numbers(const ArraySpec& s, const Philox& random, uint32_t ordinal, DType type) {
    const DType to = type == DType::bf16 ? type : DType::f32;
    std::vector<double> v(static_cast<size_t>(s.shape.numel()));
    for (size_t i = 0; i < v.size(); ++i)
        v[i] = rounded_to(to, number(s, random, ordinal, static_cast<int64_t>(i)));
    return v;
}

// Inputs that are not of type S in a reference.
bool is_raw(const ArraySpec& s) {
    return s.dtype != DType::none;
}

}  // namespace

void put_numbers(Bag<double>& bag, const ArraySpec& s, const std::vector<double>& values) {
    if (!is_raw(s)) return bag.put(s.name, s.shape, values);
    Tensor t(s.dtype, s.shape);
    set_values(t, values);
    bag.put_raw(s.name, std::move(t));
}

std::vector<double> numbers_in(const Bag<double>& bag, const std::string& name) {
    const auto raw = bag.raws().find(name);
    return raw != bag.raws().end() ? values_of(*raw->second) : bag.at(name);
}

std::vector<std::pair<std::string, const ArraySpec*>> own_gradients(const OpCase& c) {
    std::vector<std::pair<std::string, const ArraySpec*>> all;
    if (!c.backward) return all;
    for (const ArraySpec& s : c.inputs)
        if (s.differentiable && s.gradient.empty()) all.emplace_back("d_" + s.name, &s);
    return all;
}

std::map<std::string, DType> array_types(const OpCase& c, DType storage) {
    std::map<std::string, DType> types;
    for (const ArraySpec& s : c.inputs) types[s.name] = s.dtype_in(storage);
    for (const ArraySpec& s : c.outputs) {
        types[s.name] = s.dtype_in(storage);
        if (s.differentiable && c.backward) types["d_" + s.name] = s.gradient_dtype_in(storage);
    }
    for (const auto& [name, s] : own_gradients(c)) types[name] = s->gradient_dtype_in(storage);
    return types;
}

bool has_storage(const OpCase& c) {
    const auto types = array_types(c, DType::bf16);
    return std::any_of(types.begin(), types.end(), [](auto& t) { return t.second == DType::bf16; });
}

Bag<double> make_inputs(const OpCase& c, DType storage) {
    const Philox random(1, Stream::test);
    const auto types = array_types(c, storage);
    Bag<double> bag;
    uint32_t ordinal = 0;
    auto next = [&](const ArraySpec& s, const std::string& name) {
        return numbers(s, random, ordinal++, types.at(name));
    };
    for (const ArraySpec& s : c.inputs) put_numbers(bag, s, next(s, s.name));
    if (!c.backward) return bag;
    for (const ArraySpec& s : c.outputs)
        if (s.differentiable) bag.put("d_" + s.name, s.shape, next(s, "d_" + s.name));
    for (const auto& [name, s] : own_gradients(c)) {
        ArraySpec content = ArraySpec::parameter(name, s->shape);
        if (s->kind == Kind::parameter) bag.put(name, s->shape, next(content, name));
    }
    return bag;
}

template <class S>
void add_outputs(const OpCase& c, Bag<S>& bag) {
    for (const ArraySpec& s : c.outputs) {
        if (s.kind == Kind::saved) continue;
        if (!s.starts_as.empty())
            bag.put(s.name, s.shape, bag.at(s.starts_as));
        else
            bag.put(s.name, s.shape, std::vector<S>(static_cast<size_t>(s.shape.numel()), S(kNan)));
    }
}

template <class S>
void add_gradients(const OpCase& c, Bag<S>& bag) {
    for (const auto& [name, s] : own_gradients(c))
        if (!bag.has(name))
            bag.put(name, s->shape, std::vector<S>(static_cast<size_t>(s->shape.numel()), S(kNan)));
}

template void add_outputs(const OpCase&, Bag<float>&);
template void add_outputs(const OpCase&, Bag<double>&);
template void add_outputs(const OpCase&, Bag<std::complex<double>>&);
template void add_gradients(const OpCase&, Bag<float>&);
template void add_gradients(const OpCase&, Bag<double>&);

std::vector<GradientArray> gradient_arrays(const OpCase& c) {
    std::vector<GradientArray> all;
    for (const ArraySpec& s : c.inputs) {
        if (!s.differentiable) continue;
        const bool seen =
            std::any_of(all.begin(), all.end(), [&](auto& g) { return g.name == s.gradient_name(); });
        if (!seen) all.push_back({s.gradient_name(), s.kind == Kind::parameter, s.zero, s.open_dim});
    }
    return all;
}

Bag<double> slice_bag(const OpCase& c, const OpCase& part, const Bag<double>& bag, int64_t b0, int64_t t0) {
    Bag<double> out;
    out.t0 = bag.t0 + t0;
    auto cut = [&](const ArraySpec& s, const std::string& name, bool raw) {
        if (!bag.has(name)) return;
        Tensor whole(DType::f64, s.shape);
        set_values(whole, numbers_in(bag, name));
        TensorRef window = whole;
        if (s.kind != Kind::parameter) window = window.slice(0, b0, part.B);
        if (s.kind == Kind::activation && c.sequence) window = window.slice(1, t0, part.L);
        ArraySpec to = s;
        to.name = name;
        to.shape = window.shape;
        if (!raw) to.dtype = DType::none;
        put_numbers(out, to, values_of(window));
    };
    auto present = [&](const std::vector<ArraySpec>& specs, const std::string& name) {
        return std::any_of(specs.begin(), specs.end(), [&](const ArraySpec& s) { return s.name == name; });
    };
    for (const ArraySpec& s : c.inputs) {
        if (!present(part.inputs, s.name)) continue;
        cut(s, s.name, true);
        if (s.differentiable && s.gradient.empty()) cut(s, "d_" + s.name, false);
    }
    for (const ArraySpec& s : c.outputs) {
        if (s.kind == Kind::saved || !present(part.outputs, s.name)) continue;
        cut(s, s.name, false);
        if (s.differentiable) cut(s, "d_" + s.name, false);
    }
    return out;
}

TensorBag planned_bag(const OpCase& c, DType storage, Device device) {
    TensorBag bag;
    const auto types = array_types(c, storage);
    auto add = [&](const std::string& name, const Shape& shape) {
        bag.tensors[name] = TensorRef(nullptr, types.at(name), shape, device);
    };
    for (const ArraySpec& s : c.inputs) add(s.name, s.shape);
    for (const ArraySpec& s : c.outputs) {
        add(s.name, s.shape);
        if (s.differentiable && c.backward) add("d_" + s.name, s.shape);
    }
    for (const auto& [name, s] : own_gradients(c)) add(name, s->shape);
    return bag;
}

}  // namespace adder
