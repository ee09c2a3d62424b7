#include "kernels/common/op_case.h"

namespace adder {

ArraySpec ArraySpec::make(std::string name, const Shape& shape, Kind kind) {
    ArraySpec s;
    s.name = std::move(name);
    s.shape = shape;
    s.kind = kind;
    return s;
}

ArraySpec ArraySpec::start_flags(std::string name, int64_t B, int64_t L) {
    ArraySpec s = activation(std::move(name), {B, L});
    s.fill = Fill::starts;
    s.dtype = DType::u8;
    s.differentiable = false;
    return s;
}

ArraySpec ArraySpec::token_ids(std::string name, int64_t B, int64_t L, int64_t V) {
    return activation(std::move(name), {B, L}).of(DType::u16).below(V).fixed();
}

ArraySpec ArraySpec::saved(std::string name, const Shape& shape, DType dtype) {
    ArraySpec s = make(std::move(name), shape, Kind::saved);
    s.dtype = dtype;
    s.differentiable = false;
    return s;
}

DType ArraySpec::dtype_in(DType storage_type) const {
    if (dtype != DType::none) return dtype;
    const bool stored = precision == Precision::by_kind ? kind == Kind::activation : precision == Precision::storage;
    return stored ? storage_type : accum_of(storage_type);
}

DType ArraySpec::gradient_dtype_in(DType storage_type) const {
    if (gradient_precision == Precision::storage) return storage_type;
    const bool own = gradient_precision == Precision::accum || kind == Kind::parameter || dtype != DType::none;
    return own ? accum_of(storage_type) : dtype_in(storage_type);
}

ArraySpec&& ArraySpec::normal(double mean, double deviation) && {
    fill = Fill::normal;
    lo = mean;
    hi = deviation;
    return std::move(*this);
}

ArraySpec&& ArraySpec::uniform(double from, double to) && {
    fill = Fill::uniform;
    lo = from;
    hi = to;
    return std::move(*this);
}

ArraySpec&& ArraySpec::below(int64_t n) && {
    fill = Fill::tokens;
    hi = static_cast<double>(n);
    return std::move(*this);
}

}  // namespace adder
