#include "model/params.h"

#include <algorithm>
#include <cmath>

#include "core/ceil_div.h"
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

// Elements between the starts of tensors are a multiple of this: 256 bytes of f32.
constexpr int64_t kAlign = 64;

int64_t padded(const Shape& shape) { return ceil_div(shape.numel(), kAlign) * kAlign; }

}  // namespace

void ParamVisitor::operator()(const char* name, Param& param, const Shape& shape, const Init& init, ParamKind kind,
                              const Shape& file_shape) {
    on_param({prefix_ + name, shape, file_shape.rank ? file_shape : shape, init, kind, group_}, param);
}

ParamSizes::Place ParamSizes::add(const ParamSpec& spec) {
    const Place at{elements, copied};
    count += spec.shape.numel();
    elements += padded(spec.shape);
    if (spec.kind.precision == Precision::storage) copied += padded(spec.shape);
    return at;
}

int64_t ParamSizes::bytes(DType storage, bool with_gradients) const {
    const int64_t full = elements * size_of(accum_of(storage));
    return (with_gradients ? 2 : 1) * full + (storage == DType::bf16 ? copied * size_of(storage) : 0);
}

ParamStore::ParamStore(const std::function<void(ParamVisitor&)>& visit, DType storage, bool with_gradients,
                       Device device) {
    struct Collect : ParamVisitor {
        std::vector<Entry>* entries;
        ParamSizes* sizes;
        std::vector<int64_t> copy_offsets;
        void on_param(const ParamSpec& spec, Param& param) override {
            const ParamSizes::Place at = sizes->add(spec);
            entries->push_back({spec, &param, at.master});
            copy_offsets.push_back(at.copy);
        }
    } collect;
    collect.entries = &entries_;
    collect.sizes = &sizes_;
    visit(collect);

    const bool copies = storage == DType::bf16;
    masters_ = Tensor(accum_of(storage), {sizes_.elements}, device, "the parameters");
    if (with_gradients) grads_ = Tensor(accum_of(storage), {sizes_.elements}, device, "the gradients");
    if (copies) copies_ = Tensor(storage, {sizes_.copied}, device, "the bf16 copies of the parameters");
    for (size_t i = 0; i < entries_.size(); ++i) {
        const Entry& e = entries_[i];
        const int64_t n = e.spec.shape.numel();
        Param& p = *e.param;
        p = {};
        p.master = masters_.ref().slice(0, e.offset, n).reshape(e.spec.shape);
        p.value = copies && e.spec.kind.precision == Precision::storage
                      ? copies_.ref().slice(0, collect.copy_offsets[i], n).reshape(e.spec.shape)
                      : p.master;
        if (with_gradients) p.grad = grads_.ref().slice(0, e.offset, n).reshape(e.spec.shape);
    }
}

void ParamStore::initialise(uint64_t seed) {
    const HostCopy host(masters_);
    for (const Entry& e : entries_) {
        const Philox random(seed ^ hash_name(e.spec.name), Stream::init);
        const int64_t columns = e.spec.shape[e.spec.shape.rank - 1];
        for (int64_t i = 0; i < e.spec.shape.numel(); ++i) {
            // The same model in all types.
            const auto v = static_cast<float>(initial_value(e.spec.init, random, i, columns));
            if (host.ref().dtype == DType::f64)
                host.ref().ptr<double>("init")[e.offset + i] = v;
            else
                host.ref().ptr<float>("init")[e.offset + i] = v;
        }
    }
    host.upload();
    refresh_copies();
}

void ParamStore::refresh_copies() {
    if (!copies_.ref()) return;
    const HostCopy masters(masters_), copies(copies_);
    const auto* from = masters.ref().ptr<float>("masters");
    auto* to = copies.ref().ptr<bf16>("copies");
    for (const Entry& e : entries_) {
        if (e.spec.kind.precision != Precision::storage) continue;
        const auto at = (static_cast<const char*>(e.param->value.data) - static_cast<const char*>(copies_.ref().data)) /
                        size_of(DType::bf16);
        std::transform(from + e.offset, from + e.offset + e.spec.shape.numel(), to + at, bf16_of);
    }
    copies.upload();
}

void ParamStore::zero_gradients(const Ctx& ctx) { fill_zero(ctx, grads_); }

HostCopy::HostCopy(const TensorRef& tensor) : tensor_(tensor), at_(tensor) {
    if (tensor.device == Device::cpu) return;
    copy_ = Tensor(tensor.dtype, tensor.shape);
    copy(tensor, copy_);
    at_ = copy_;
}

void HostCopy::upload() const {
    if (tensor_.device != Device::cpu) copy(copy_, tensor_);
}

}  // namespace adder
