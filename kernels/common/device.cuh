// What kernels share: storage types, vector loads, activations, sums in a fixed order.
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "core/dtype.h"
#include "core/view.h"

namespace adder::cuda {

// ---- storage <-> f32 ----

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }
// Round to nearest even.
template <class T>
__device__ __forceinline__ T from_float(float x) {
    if constexpr (std::is_same_v<T, float>)
        return x;
    else
        return bf16{__bfloat16_as_ushort(__float2bfloat16_rn(x))};
}
// Two bf16 in a word, `lo` in the lower half.
__device__ __forceinline__ uint32_t pack_bf16(float lo, float hi) {
    const __nv_bfloat162 v = __floats2bfloat162_rn(lo, hi);
    return *reinterpret_cast<const uint32_t*>(&v);
}
__device__ __forceinline__ float low_bf16(uint32_t two) { return __uint_as_float(two << 16); }
__device__ __forceinline__ float high_bf16(uint32_t two) { return __uint_as_float(two & 0xffff0000u); }

// ---- V neighbouring elements at once ----

// The widest power of two <= 16 bytes / sizeof(T) by which all of these addresses and strides (in elements) can be
// divided; `n` is the number of elements in a row.
template <class T, int R>
int vector_width(const View<T, R>& v, int64_t n) {
    int w = static_cast<int>(16 / sizeof(T));
    const auto fits = [&](int width) {
        if (n % width != 0 || reinterpret_cast<uintptr_t>(v.data) % (width * sizeof(T)) != 0) return false;
        for (int r = 0; r + 1 < R; ++r)
            if (v.shape[r] > 1 && v.stride[r] % width != 0) return false;
        return true;
    };
    while (w > 1 && v.data && !fits(w)) w /= 2;
    return w;
}

template <class T, int V>
struct alignas(sizeof(T) * V < 16 ? sizeof(T) * V : 16) Pack {
    T item[V];
};

// Pairs of bf16 travel in words: one instruction for up to 16 bytes, packed conversions.
template <class T, int V>
inline constexpr bool kInWords = std::is_same_v<T, bf16> && V % 2 == 0;
// V elements as they were loaded.
template <class T, int V>
using Packed = std::conditional_t<kInWords<T, V>, Pack<uint32_t, (V + 1) / 2>, Pack<T, V>>;

// `p` must be aligned to V elements, or to 16 bytes if those are more.
template <int V, class T>
__device__ __forceinline__ Packed<T, V> load_packed(const T* p) {
    return *reinterpret_cast<const Packed<T, V>*>(p);
}
template <class T, int V>
__device__ __forceinline__ void unpack(const Packed<T, V>& pack, float (&to)[V]) {
#pragma unroll
    for (int i = 0; i < V; ++i) {
        if constexpr (kInWords<T, V>)
            to[i] = i % 2 == 0 ? low_bf16(pack.item[i / 2]) : high_bf16(pack.item[i / 2]);
        else
            to[i] = to_float(pack.item[i]);
    }
}
template <int V, class T>
__device__ __forceinline__ void load(const T* p, float (&to)[V]) {
    unpack<T, V>(load_packed<V>(p), to);
}
template <int V, class T>
__device__ __forceinline__ void store(T* p, const float (&from)[V]) {
    if constexpr (kInWords<T, V>) {
        Pack<uint32_t, V / 2> pack;
#pragma unroll
        for (int i = 0; i < V; i += 2) pack.item[i / 2] = pack_bf16(from[i], from[i + 1]);
        *reinterpret_cast<Pack<uint32_t, V / 2>*>(p) = pack;
    } else {
        Pack<T, V> pack;
#pragma unroll
        for (int i = 0; i < V; ++i) pack.item[i] = from_float<T>(from[i]);
        *reinterpret_cast<Pack<T, V>*>(p) = pack;
    }
}

// ---- activations, in f32 ----

inline constexpr float kLog2e = 1.4426950408889634f;

// 2^x to two units in the last place (ex2.approx); subnormal results are kept.
__device__ __forceinline__ float fast_exp2(float x) { return exp2f(x); }
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
// sigmoid with a quotient within two units in the last place (__fdividef) instead of a rounded one. That quotient is 0
// where its denominator passes 2^126, and so is the sigmoid there but for less than 2^-126.
__device__ __forceinline__ float fast_sigmoid(float x) { return __fdividef(1.0f, 1.0f + expf(-x)); }
// log(1 + exp(x)): exact to rounding at both ends, NaN for NaN.
__device__ __forceinline__ float softplus(float x) { return x > 20.0f ? x : log1pf(expf(x)); }

// ---- sums ----

inline constexpr unsigned kFullWarp = 0xffffffffu;
inline constexpr int kWarp = 32;

// The same bits in every lane.
template <int Width = kWarp, class T>
__device__ __forceinline__ T warp_sum(T x) {
#pragma unroll
    for (int offset = Width / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kFullWarp, x, offset);
    return x;
}
template <int Width = kWarp>
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int offset = Width / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, offset));
    return x;
}

// Sum over a block of Threads threads, in every thread; `room` holds Threads / 32 values. Two barriers; `room` may be used
// again afterwards.
template <int Threads, class T>
__device__ __forceinline__ T block_sum(T x, T* room) {
    x = warp_sum(x);
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    if (lane == 0) room[warp] = x;
    __syncthreads();
    T total = 0;
#pragma unroll
    for (int i = 0; i < Threads / kWarp; ++i) total += room[i];
    __syncthreads();
    return total;
}

}  // namespace adder::cuda
