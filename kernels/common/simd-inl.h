// Loads and stores of the last, partial vector of a row, for every instruction set: never a byte past the
// row. Included once per SIMD target (Highway's foreach_target).
#if defined(ADDER_KERNELS_COMMON_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ADDER_KERNELS_COMMON_SIMD_INL_H_
#undef ADDER_KERNELS_COMMON_SIMD_INL_H_
#else
#define ADDER_KERNELS_COMMON_SIMD_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace adder {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The first n < Lanes(d) elements at p; zero in the other lanes.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_first(D d, const T* p, size_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT
    HWY_ALIGN T buffer[HWY_MAX_BYTES / sizeof(T)] = {};
    for (size_t i = 0; i < n; ++i) buffer[i] = p[i];
    return hn::Load(d, buffer);
#else
    return hn::MaskedLoad(hn::FirstN(d, n), d, p);
#endif
}

template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_first(hn::Vec<D> v, D d, T* p, size_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT
    HWY_ALIGN T buffer[HWY_MAX_BYTES / sizeof(T)];
    hn::Store(v, d, buffer);
    for (size_t i = 0; i < n; ++i) p[i] = buffer[i];
#else
    hn::BlendedStore(v, hn::FirstN(d, n), d, p);
#endif
}

// A whole vector, or with kTail its first n elements.
template <bool kTail, class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load(D d, const T* p, size_t n) {
    if constexpr (kTail)
        return load_first(d, p, n);
    else
        return hn::LoadU(d, p);
}

template <bool kTail, class D, class T = hn::TFromD<D>>
HWY_INLINE void store(hn::Vec<D> v, D d, T* p, size_t n) {
    if constexpr (kTail)
        store_first(v, d, p, n);
    else
        hn::StoreU(v, d, p);
}

template <class D>
HWY_INLINE hn::TFromD<D> sum_of(D d, hn::Vec<D> v) {
    return hn::GetLane(hn::SumOfLanes(d, v));
}

}  // namespace HWY_NAMESPACE
}  // namespace adder
HWY_AFTER_NAMESPACE();

#endif
