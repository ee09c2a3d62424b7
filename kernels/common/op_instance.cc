#include "kernels/common/op_instance.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "core/rng.h"

namespace adder {

namespace {

constexpr unsigned char kGuard = 0xA5;
constexpr int64_t kGuardBytes = 64;
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

std::vector<double> numbers(const ArraySpec& s, const Philox& random, uint32_t ordinal) {
    std::vector<double> v(static_cast<size_t>(s.shape.numel()));
    for (size_t i = 0; i < v.size(); ++i)
        v[i] = static_cast<float>(number(s, random, ordinal, static_cast<int64_t>(i)));
    return v;
}

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

double load(DType dtype, const unsigned char* p) {
    auto as = [p](auto zero) {
        std::memcpy(&zero, p, sizeof zero);
        return static_cast<double>(zero);
    };
    switch (dtype) {
        case DType::f32:
            return as(float{});
        case DType::f64:
            return as(double{});
        case DType::u16:
            return as(uint16_t{});
        case DType::u8:
            return as(uint8_t{});
        default:
            CHECK(false && "no case has arrays of this type");
            return 0;
    }
}

void store(DType dtype, unsigned char* p, double value) {
    auto as = [p, value](auto zero) {
        zero = static_cast<decltype(zero)>(value);
        std::memcpy(p, &zero, sizeof zero);
    };
    switch (dtype) {
        case DType::f32:
            return as(float{});
        case DType::f64:
            return as(double{});
        case DType::u16:
            return as(uint16_t{});
        case DType::u8:
            return as(uint8_t{});
        default:
            CHECK(false && "no case has arrays of this type");
    }
}

// Inputs that are not of type S in a reference.
bool is_raw(const ArraySpec& s) {
    return s.dtype != DType::none;
}

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

// The gradients that backward writes, other than those left in a cotangent's array.
std::vector<std::pair<std::string, const ArraySpec*>> own_gradients(const OpCase& c) {
    std::vector<std::pair<std::string, const ArraySpec*>> all;
    if (!c.backward) return all;
    for (const ArraySpec& s : c.inputs)
        if (s.differentiable && s.gradient.empty()) all.emplace_back("d_" + s.name, &s);
    return all;
}

}  // namespace

Bag<double> make_inputs(const OpCase& c) {
    const Philox random(1, Stream::test);
    Bag<double> bag;
    uint32_t ordinal = 0;
    for (const ArraySpec& s : c.inputs) put_numbers(bag, s, numbers(s, random, ordinal++));
    if (!c.backward) return bag;
    for (const ArraySpec& s : c.outputs)
        if (s.differentiable) bag.put("d_" + s.name, s.shape, numbers(s, random, ordinal++));
    for (const auto& [name, s] : own_gradients(c)) {
        ArraySpec content = ArraySpec::parameter(name, s->shape);
        if (s->kind == Kind::parameter) bag.put(name, s->shape, numbers(content, random, ordinal++));
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

void Guarded::Unmap::operator()(void* p) const {
    munmap(p, static_cast<size_t>(bytes));
}

Guarded::Guarded(DType dtype, const Shape& shape, Layout layout) : ref_(nullptr, dtype, shape) {
    const int64_t item = size_of(dtype);
    int64_t lead = 0;
    if (layout == Layout::strided && shape.rank >= 2) {
        lead = item;
        int64_t step = shape[shape.rank - 1] + 3;
        for (int d = shape.rank - 2; d >= 0; --d, step = step * shape[d + 1] + 5)
            ref_.stride[static_cast<size_t>(d)] = step;
    }
    if (layout == Layout::huge && shape.rank >= 2) {
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
    int64_t last = 0;
    for (int d = 0; d < shape.rank; ++d)
        last += (std::max<int64_t>(shape[d], 1) - 1) * ref_.stride[static_cast<size_t>(d)];
    bytes_.assign(static_cast<size_t>(3 * kGuardBytes + lead + (last + 1) * item), kGuard);
    const auto base = reinterpret_cast<uintptr_t>(bytes_.data());
    const int64_t to_aligned = static_cast<int64_t>((kGuardBytes - base % kGuardBytes) % kGuardBytes);
    ref_.data = bytes_.data() + to_aligned + kGuardBytes + lead;
}

void Guarded::poison() {
    for_elements(ref_, [&](size_t, unsigned char* p) {
        std::memset(p, 0xFF, static_cast<size_t>(size_of(ref_.dtype)));
    });
}

bool Guarded::intact() const {
    if (mapped_) return true;  // its gaps are too large to read
    std::vector<unsigned char> rest = bytes_;
    TensorRef there = ref_;
    there.data = rest.data() + (static_cast<unsigned char*>(ref_.data) - bytes_.data());
    for_elements(there, [&](size_t, unsigned char* p) {
        std::memset(p, kGuard, static_cast<size_t>(size_of(ref_.dtype)));
    });
    return std::all_of(rest.begin(), rest.end(), [](unsigned char b) { return b == kGuard; });
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

Instance::Instance(const OpCase& c, const Bag<double>& given, DType real, Layout layout)
    : case_(c), numbers_(given) {
    bag_.t0 = given.t0;
    for (const ArraySpec& s : c.inputs) add(s, s.name, s.dtype_in(real), layout);
    for (const ArraySpec& s : c.outputs) {
        add(s, s.name, s.dtype_in(real), layout);
        if (s.differentiable && c.backward) add(s, "d_" + s.name, s.gradient_dtype_in(real), layout);
    }
    for (const auto& [name, s] : own_gradients(c)) add(*s, name, s->gradient_dtype_in(real), layout);
    reset();
}

void Instance::add(const ArraySpec& spec, const std::string& name, DType dtype, Layout layout) {
    const bool dense = spec.contiguous || spec.kind != Kind::activation;
    const auto [it, fresh] =
        memory_.try_emplace(name, dtype, spec.shape, dense ? Layout::contiguous : layout);
    CHECK(fresh && "two arrays of a case have one name");
    bag_.tensors[name] = it->second.ref();
}

void Instance::reset() {
    for (auto& [name, m] : memory_) {
        if (numbers_.has(name))
            set_values(m.ref(), numbers_in(numbers_, name));
        else
            m.poison();
    }
    for (const ArraySpec& s : case_.outputs)
        if (!s.starts_as.empty()) set(s.name, values(s.starts_as));
}

void Instance::call(const std::function<void(Ctx&, TensorBag&)>& f, ThreadPool& pool) {
    Arena plan;
    Ctx ctx;
    ctx.pool = &pool;
    ctx.scratch = &plan;
    ctx.dry_run = true;
    TensorBag planned = bag_;
    for (auto& [name, t] : planned.tensors) t.data = nullptr;
    f(ctx, planned);
    Arena scratch;
    scratch.bind(plan.peak_bytes(), true);
    ctx.scratch = &scratch;
    ctx.dry_run = false;
    f(ctx, bag_);
}

std::string Instance::damaged() const {
    for (const auto& [name, m] : memory_)
        if (!m.intact()) return name;
    return "";
}

}  // namespace adder
