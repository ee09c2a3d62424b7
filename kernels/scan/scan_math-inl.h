// Vector functions of the scan, compiled once per instruction set. Arguments that are NaN must be the
// canonical one
// (`canonical_nan`): the exponent is inserted as an integer, which leaves a NaN alone whose low nine bits are
// zero.
#if defined(ADDER_SCAN_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ADDER_SCAN_MATH_INL_H_
#undef ADDER_SCAN_MATH_INL_H_
#else
#define ADDER_SCAN_MATH_INL_H_
#endif

#include <hwy/highway.h>

#include <limits>

HWY_BEFORE_NAMESPACE();
namespace adder::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One vector holds one block of channels. Sixteen lanes at most: the panels on the stack have room for that.
constexpr int64_t kMaxLanes = 16;
using Tag = hn::CappedTag<float, kMaxLanes>;
using V = hn::Vec<Tag>;

constexpr float kLog2e = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

HWY_INLINE V set(float x) {
    return hn::Set(Tag(), x);
}

HWY_INLINE V canonical_nan(V x) {
    return hn::IfThenElse(hn::IsNaN(x), set(std::numeric_limits<float>::quiet_NaN()), x);
}

// (2^r - 1) / r for |r| <= 1/2; minimax fit (Remez exchange on the relative error of 2^r, leading
// coefficients rounded one by one): 1 + r times it is within 1.3e-8 of 2^r before rounding.
HWY_INLINE V exp2_minus_1_over(V r) {
    V p = set(1.3332425442058593e-4f);
    p = hn::MulAdd(p, r, set(1.3387927319854498e-3f));
    p = hn::MulAdd(p, r, set(9.625445120036602e-3f));
    p = hn::MulAdd(p, r, set(5.5503662675619125e-2f));
    p = hn::MulAdd(p, r, set(2.4022594094276428e-1f));
    return hn::MulAdd(p, r, set(6.931471824645996e-1f));
}

// Adding this rounds to an integer and leaves it in the low bits.
constexpr float kRound = 12582912.0f;  // 1.5 * 2^23
// Below 2^this the result is zero instead of subnormal.
constexpr float kMinExponent = -125.0f;

// 2^(x y) for x y <= 0.
HWY_INLINE V exp2_product(V x, V y) {
    const hn::RebindToSigned<Tag> di;
    const V shifted = hn::MulAdd(x, y, set(kRound));
    const V r = hn::MulSub(x, y, hn::Sub(shifted, set(kRound)));
    const V p = hn::MulAdd(exp2_minus_1_over(r), r, set(1.0f));
    const auto bits = hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted)));
    return hn::IfThenZeroElse(hn::Lt(shifted, set(kRound + kMinExponent)), hn::BitCast(Tag(), bits));
}

// a = 2^(x y) and a - 1, the latter without cancellation, for x y <= 0.
HWY_INLINE void exp2_and_minus_1(V x, V y, V& a, V& a_minus_1) {
    const hn::RebindToSigned<Tag> di;
    const V shifted = hn::MulAdd(x, y, set(kRound));
    const V r = hn::MulSub(x, y, hn::Sub(shifted, set(kRound)));
    const V q = hn::Mul(exp2_minus_1_over(r), r);
    const auto exponent = hn::Add(hn::BitCast(di, shifted), hn::Set(di, 127));
    const V scale = hn::BitCast(Tag(), hn::ShiftLeft<23>(exponent));
    const auto tiny = hn::Lt(shifted, set(kRound + kMinExponent));
    a = hn::IfThenZeroElse(tiny, hn::MulAdd(q, scale, scale));
    a_minus_1 = hn::IfThenElse(tiny, set(-1.0f), hn::MulAdd(q, scale, hn::Sub(scale, set(1.0f))));
}

// exp(x). The product n ln 2 is exact in two parts (Cody & Waite 1980), so this needs no fused multiply-add.
HWY_INLINE V exp(V x) {
    const hn::RebindToSigned<Tag> di;
    x = hn::IfThenElse(hn::Gt(x, set(88.0f)), set(88.0f), x);
    const V shifted = hn::MulAdd(x, set(kLog2e), set(kRound));
    const V n = hn::Sub(shifted, set(kRound));
    const V high = hn::NegMulAdd(n, set(0.693359375f), x);
    const V r = hn::Mul(hn::NegMulAdd(n, set(-2.12194440e-4f), high), set(kLog2e));
    const V p = hn::MulAdd(exp2_minus_1_over(r), r, set(1.0f));
    const auto bits = hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted)));
    return hn::IfThenZeroElse(hn::Lt(shifted, set(kRound + kMinExponent)), hn::BitCast(Tag(), bits));
}

// log(1 + w) for w in [0, 1]: 2 atanh(s) with s = w / (2 + w) <= 1/3; minimax fit of (atanh(s) / s - 1) / s^2
// in s^2.
HWY_INLINE V log1p_unit(V w) {
    const V s = hn::Div(w, hn::Add(w, set(2.0f)));
    const V q = hn::Mul(s, s);
    V p = set(1.4012211561203003e-1f);
    p = hn::MulAdd(p, q, set(1.399957537651062e-1f));
    p = hn::MulAdd(p, q, set(2.0010849833488464e-1f));
    p = hn::MulAdd(p, q, set(3.333320617675781e-1f));
    const V twice = hn::Add(s, s);
    return hn::MulAdd(hn::Mul(p, q), twice, twice);
}

// log(1 + exp(x)).
HWY_INLINE V softplus(V x) {
    const V w = exp(hn::Neg(hn::Abs(x)));
    return hn::Add(hn::Max(x, hn::Zero(Tag())), log1p_unit(w));
}

// 1 / (1 + exp(-x)).
HWY_INLINE V sigmoid(V x) {
    const V w = exp(hn::Neg(hn::Abs(x)));
    const V numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(Tag())), w, set(1.0f));
    return hn::Div(numerator, hn::Add(w, set(1.0f)));
}

HWY_INLINE float sum_of_lanes(V x) {
    return hn::GetLane(hn::SumOfLanes(Tag(), x));
}

}  // namespace adder::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard, once per target
