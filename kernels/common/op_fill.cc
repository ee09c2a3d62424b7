#include "kernels/common/op_fill.h"

#include <algorithm>

#include "kernels/common/op_instance.h"

namespace adder {

FillRule::FillRule(const ArraySpec& spec, uint64_t seed_) : fill(spec.fill), lo(spec.lo), seed(seed_) {
    // Variance of the sum: four times (2^32 - 1) / 12.
    constexpr double kDeviation = 65536 * 0.57735026918962576;
    switch (fill) {
        case Fill::normal: scale = static_cast<float>(spec.hi / kDeviation); break;
        case Fill::uniform: scale = static_cast<float>((spec.hi - spec.lo) * 0x1p-24); break;
        case Fill::tokens: limit = static_cast<uint32_t>(spec.hi); break;
        case Fill::unit:
        case Fill::starts: break;
    }
}

DeviceArrays::DeviceArrays(const OpCase& c, DType storage) : types_(array_types(c, storage)) {
    for (const ArraySpec& s : c.inputs) add(s.name, s.shape, &s);
    for (const ArraySpec& s : c.outputs) {
        const auto from = std::find_if(c.inputs.begin(), c.inputs.end(),
                                       [&](const ArraySpec& i) { return !s.starts_as.empty() && i.name == s.starts_as; });
        add(s.name, s.shape, from == c.inputs.end() ? nullptr : &*from);
        if (s.differentiable && c.backward) add("d_" + s.name, s.shape, &s);
    }
    for (const auto& [name, s] : own_gradients(c)) add(name, s->shape, nullptr);
}

void DeviceArrays::add(const std::string& name, const Shape& shape, const ArraySpec* filled_as) {
    const auto it = memory_.emplace(name, Tensor(types_.at(name), shape, Device::cuda, name.c_str())).first;
    bag_.tensors[name] = it->second;
    if (filled_as) rules_[name] = FillRule(*filled_as, memory_.size());
}

void DeviceArrays::fill(Gpu& gpu) {
    for (const auto& [name, t] : bag_.tensors) {
        if (const FillRule* r = rule(name))
            cuda::fill(gpu, t, *r);
        else
            zero_async(t.data, t.bytes(), gpu.stream());
    }
}

const FillRule* DeviceArrays::rule(const std::string& name) const {
    const auto it = rules_.find(name);
    return it == rules_.end() ? nullptr : &it->second;
}

}  // namespace adder
