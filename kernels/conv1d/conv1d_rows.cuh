// What the CUDA kernels of the convolution share. A thread owns V neighbouring channels and walks a run of rows with the
// rows that its taps reach in registers. kTaps = 4 is for K = 4; kTaps = 8 is for every K <= 8 and leaves out the taps that
// K lacks.
#pragma once
#include <algorithm>

#include "kernels/common/device.cuh"
#include "kernels/common/launch.cuh"
#include "kernels/common/multiprocessors.h"
#include "kernels/conv1d/conv1d.h"

namespace adder::cuda {

inline constexpr int kConvThreads = 128;

template <class T>
struct ConvArgs {
    View<const T, 3> x;
    const float* weight;  // (D,K)
    const float* bias;    // null = none
    View<const uint8_t, 2> start;
    View<const float, 3> halo;
    bool silu;
    int K;
};

template <class T>
ConvArgs<T> conv_args(const Conv1dArgs& a) {
    return {a.x.as<const T, 3>("x"),
            a.weight.ptr<const float>("weight"),
            a.bias ? a.bias.ptr<const float>("bias") : nullptr,
            a.start.as<const uint8_t, 2>("start"),
            a.halo.as<const float, 3>("halo"),
            a.silu,
            static_cast<int>(a.weight.size(1))};
}

inline bool conv_aligned(const void* p, int64_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

// Rows in a run: the most of `longest`, longest / 2, ... `shortest` at which V channels a thread make enough
// threads to fill a GPU twice.
inline int64_t conv_run_rows(int64_t B, int64_t L, int64_t D, int64_t V, int64_t longest, int64_t shortest) {
    constexpr int64_t kEnough = 2 * kMultiprocessors * 640;
    int64_t rows = longest;
    while (rows > shortest && B * ceil_div(L, rows) * ceil_div(D, V) < kEnough) rows /= 2;
    return rows;
}

// The weights and bias of V channels: w[kTaps - 1] meets the newest row, w[kTaps - K] the oldest.
template <int kTaps, int V>
struct ConvTaps {
    float w[kTaps][V];
    float bias[V];
    int K;

    template <class T>
    __device__ __forceinline__ void load_from(const ConvArgs<T>& a, int64_t d) {
        K = kTaps == 4 ? 4 : a.K;
#pragma unroll
        for (int i = 0; i < V; ++i) {
            bias[i] = a.bias ? a.bias[d + i] : 0.0f;
            if constexpr (kTaps == 4) {
                float of_channel[4];
                load<4>(a.weight + (d + i) * 4, of_channel);
#pragma unroll
                for (int k = 0; k < 4; ++k) w[k][i] = of_channel[k];
            } else {
#pragma unroll
                for (int k = 0; k < kTaps; ++k) w[k][i] = has(k) ? a.weight[(d + i) * K + k - (kTaps - K)] : 0.0f;
            }
        }
    }
    // Whether K has the tap at w[k].
    __device__ __forceinline__ bool has(int k) const { return kTaps == 4 || k >= kTaps - K; }
};

// The kTaps - 1 rows before the current one, the newest last; zeros where there is none or a start has cut.
template <int kTaps, int V>
struct ConvWindow {
    float row[kTaps - 1][V];
    int seen;  // how many of the rows before it the current row sees, at most K - 1

    __device__ __forceinline__ void clear() {
        seen = 0;
#pragma unroll
        for (int k = 0; k < kTaps - 1; ++k)
#pragma unroll
            for (int i = 0; i < V; ++i) row[k][i] = 0;
    }
    __device__ __forceinline__ void push(const float (&x)[V], int K) {
#pragma unroll
        for (int k = 0; k + 1 < kTaps - 1; ++k)
#pragma unroll
            for (int i = 0; i < V; ++i) row[k][i] = row[k + 1][i];
#pragma unroll
        for (int i = 0; i < V; ++i) row[kTaps - 2][i] = x[i];
        seen = min(seen + 1, K - 1);
    }
    // The rows before row t of sequence b, channels d and up.
    template <class T>
    __device__ __forceinline__ void fill(const ConvArgs<T>& a, int64_t b, int64_t t, int64_t d) {
        clear();
        const int before = a.K - 1;
        for (int64_t from = t - before; from < t; ++from) {
            float x[V] = {};
            if (from >= 0) {
                if (a.start && a.start.data[b * a.start.stride[0] + from]) clear();
                load<V>(a.x.data + b * a.x.stride[0] + from * a.x.stride[1] + d, x);
            } else if (a.halo) {
                const float* row_before = a.halo.data + b * a.halo.stride[0] + (before + from) * a.halo.stride[1] + d;
#pragma unroll
                for (int i = 0; i < V; ++i) x[i] = row_before[i];
            }
            push(x, a.K);
        }
    }
    __device__ __forceinline__ void pre(const ConvTaps<kTaps, V>& taps, const float (&x)[V], float (&sum)[V]) const {
#pragma unroll
        for (int i = 0; i < V; ++i) sum[i] = taps.bias[i];
#pragma unroll
        for (int k = 0; k < kTaps; ++k) {
            if (!taps.has(k)) continue;
#pragma unroll
            for (int i = 0; i < V; ++i) sum[i] += taps.w[k][i] * (k == kTaps - 1 ? x[i] : row[k < kTaps - 1 ? k : 0][i]);
        }
    }
};

}  // namespace adder::cuda
