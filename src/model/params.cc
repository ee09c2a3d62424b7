#include "model/params.h"

#include <algorithm>
#include <cmath>

#include "core/rng.h"

namespace adder {

namespace {

// FNV-1a: gives every parameter random numbers of its own, whatever the order of the list.
uint64_t hash_name(const std::string& name) {
    uint64_t h = 0xcbf29ce484222325ull;
    for (unsigned char c : name) h = (h ^ c) * 0x100000001b3ull;
    return h;
}

double initial_value(const Init& init, const Philox& random, int64_t i, int64_t columns) {
    const double u = random.uniform(static_cast<uint64_t>(i));
    switch (init.kind) {
        case Init::Kind::constant: return init.a;
        case Init::Kind::normal: return init.a * random.normal(static_cast<uint64_t>(i));
        case Init::Kind::uniform: return init.a + (init.b - init.a) * u;
        case Init::Kind::log_arange: return std::log(static_cast<double>(1 + i % columns));
        case Init::Kind::log_uniform: return std::log(init.a + (init.b - init.a) * u);
        case Init::Kind::inverse_softplus_log_uniform: {
            const double dt =
                std::max(init.floor, std::exp(std::log(init.a) + (std::log(init.b) - std::log(init.a)) * u));
            return dt + std::log(-std::expm1(-dt));
        }
    }
    return 0;
}

}  // namespace

void ParamVisitor::operator()(const char* name, Param& param, const Shape& shape, const Init& init, bool decay,
                              const Shape& file_shape) {
    on_param({prefix_ + name, shape, file_shape.rank ? file_shape : shape, init, decay}, param);
}

ParamStore::ParamStore(const std::function<void(ParamVisitor&)>& visit, DType storage, bool with_gradients) {
    struct Collect : ParamVisitor {
        std::vector<Entry>* entries;
        void on_param(const ParamSpec& spec, Param& param) override { entries->push_back({spec, &param}); }
    } collect;
    collect.entries = &entries_;
    visit(collect);

    // Each tensor starts on a cache line of its own.
    constexpr int64_t kAlign = 16;
    auto padded = [](const Entry& e) { return (e.spec.shape.numel() + kAlign - 1) / kAlign * kAlign; };
    int64_t total = 0;
    for (const Entry& e : entries_) total += padded(e);
    values_ = Tensor(storage, {total});
    if (with_gradients) grads_ = Tensor(accum_of(storage), {total});
    int64_t at = 0;
    for (const Entry& e : entries_) {
        const int64_t n = e.spec.shape.numel();
        e.param->value = values_.ref().slice(0, at, n).reshape(e.spec.shape);
        if (with_gradients) e.param->grad = grads_.ref().slice(0, at, n).reshape(e.spec.shape);
        at += padded(e);
    }
}

void ParamStore::initialise(uint64_t seed) {
    for (const Entry& e : entries_) {
        const Philox random(seed ^ hash_name(e.spec.name), Stream::init);
        const int64_t columns = e.spec.shape[e.spec.shape.rank - 1];
        for (int64_t i = 0; i < e.spec.shape.numel(); ++i) {
            const double v = initial_value(e.spec.init, random, i, columns);
            if (e.param->value.dtype == DType::f64)
                e.param->value.ptr<double>("init")[i] = static_cast<float>(v);  // the same model in both types
            else
                e.param->value.ptr<float>("init")[i] = static_cast<float>(v);
        }
    }
}

void ParamStore::zero_gradients() { fill_zero(grads_); }

int64_t ParamStore::count() const {
    int64_t n = 0;
    for (const Entry& e : entries_) n += e.spec.shape.numel();
    return n;
}

int64_t ParamStore::bytes() const { return values_.ref().bytes() + grads_.ref().bytes(); }

}  // namespace adder
