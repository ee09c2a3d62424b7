#include "kernels/common/op_fill.h"

#include <cmath>

#include "kernels/common/op_memory.h"

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

std::vector<double> fill_values(const FillRule& rule, DType dtype, int64_t first, int64_t n) {
    std::vector<double> v(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i)
        v[static_cast<size_t>(i)] = rounded_to(dtype, fill_value(rule, static_cast<uint64_t>(first + i)));
    return v;
}

}  // namespace adder
