// Numbers of a case that is too large to be made on the host: element i of an array is a function of (seed, i), the same
// bits on the host and on a GPU.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "core/device.h"
#include "core/tensor.h"
#include "kernels/common/op_case.h"

namespace adder {

struct FillRule {
    Fill fill = Fill::normal;
    // uniform, normal: lo + scale k for an integer k of at most 24 bits. tokens: below `limit`.
    double lo = 0;
    float scale = 1;
    uint32_t limit = 1;
    uint64_t seed = 0;

    FillRule() = default;
    FillRule(const ArraySpec& spec, uint64_t seed);
};

// Hashed (seed, index).
constexpr uint64_t fill_bits(uint64_t seed, uint64_t index) {
    // The finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
    uint64_t x = seed * 0xD1342543DE82EF95u + (index + 1) * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

// Product and sum round once whether the compiler contracts them or not: the product of a float and 24 bits is exact. The
// sum of four 16-bit numbers stands for a normal one for the same reason: logarithm and cosine of two libraries differ.
// Its tails end at 3.5 standard deviations.
constexpr double fill_value(const FillRule& r, uint64_t index) {
    const uint64_t bits = fill_bits(r.seed, index);
    const auto scaled = [&](int64_t k) { return r.lo + static_cast<double>(r.scale) * static_cast<double>(k); };
    switch (r.fill) {
        case Fill::uniform: return scaled(static_cast<int64_t>(bits >> 40));
        case Fill::normal:
            return scaled(static_cast<int64_t>((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48)) -
                          2 * 0xffff);
        case Fill::tokens: return static_cast<double>((bits >> 32) * r.limit >> 32);
        case Fill::unit: return index == 0 ? 1 : 0;
        case Fill::starts: return (bits & 1023) == 0 ? 1 : 0;  // members of about 1,024
    }
    return 0;
}

// The arguments of a case in memory of a GPU of their exact size.
class DeviceArrays {
  public:
    DeviceArrays(const OpCase& c, DType storage);
    // As make_inputs and Instance do, by rules instead of numbers: inputs, cotangents, outputs that start as an input.
    // Gradients that accumulate start at zero.
    void fill(Gpu& gpu);

    TensorBag& bag() { return bag_; }
    // Of an array that `fill` fills; null for others.
    const FillRule* rule(const std::string& name) const;

  private:
    void add(const std::string& name, const Shape& shape, const ArraySpec* filled_as);

    std::map<std::string, DType> types_;
    std::map<std::string, Tensor> memory_;
    std::map<std::string, FillRule> rules_;
    TensorBag bag_;
};

namespace cuda {
// Fills a contiguous tensor of the GPU, in the order of its stream; its first element is element `first` of the array.
void fill(Gpu& gpu, const TensorRef& t, const FillRule& rule, int64_t first = 0);
}  // namespace cuda

}  // namespace adder
