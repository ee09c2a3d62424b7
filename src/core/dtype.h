// Element types. Storage is f32 or bf16; f64 runs every op through its reference and is the oracle of the tests.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace adder {

enum class DType : uint8_t { none, f32, bf16, f64, i64, u16, u8 };

// Upper half of an f32. Arithmetic happens in f32 only.
struct bf16 {
    uint16_t bits;
};

// On the host. To the nearest bf16, ties to even; a NaN stays one.
inline bf16 bf16_of(float x) {
    const auto bits = std::bit_cast<uint32_t>(x);
    if (std::isnan(x)) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
    return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
inline float float_of(bf16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

constexpr int64_t size_of(DType t) {
    switch (t) {
        case DType::none: return 0;
        case DType::f32: return 4;
        case DType::bf16: return 2;
        case DType::f64: return 8;
        case DType::i64: return 8;
        case DType::u16: return 2;
        case DType::u8: return 1;
    }
    return 0;
}

constexpr const char* name_of(DType t) {
    switch (t) {
        case DType::none: return "none";
        case DType::f32: return "f32";
        case DType::bf16: return "bf16";
        case DType::f64: return "f64";
        case DType::i64: return "i64";
        case DType::u16: return "u16";
        case DType::u8: return "u8";
    }
    return "?";
}

template <class T> struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <> struct DTypeOf<bf16> { static constexpr DType value = DType::bf16; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <> struct DTypeOf<int64_t> { static constexpr DType value = DType::i64; };
template <> struct DTypeOf<uint16_t> { static constexpr DType value = DType::u16; };
template <> struct DTypeOf<uint8_t> { static constexpr DType value = DType::u8; };
template <class T> inline constexpr DType dtype_of = DTypeOf<T>::value;

// The type of states, statistics, gradients of parameters and the residual stream beside this storage type.
constexpr DType accum_of(DType storage) { return storage == DType::f64 ? DType::f64 : DType::f32; }

}  // namespace adder
