// What the products of a step are put together from: where the rows of the input come from (Source) and what
// becomes of a finished output (Finish).
#pragma once
#include <cstdint>

#include "core/tensor.h"
#include "kernels/common/device.cuh"
#include "kernels/common/mma.cuh"

namespace adder::cuda::step {

inline constexpr int kWarps = 8, kThreads = kWarps * kWarp;
inline constexpr int kOutputs = 8;  // the columns of an instruction
inline constexpr int kRows = 16;    // of the input: the rows of an instruction
inline constexpr int kChunk = 32;   // of I: two instructions

struct Problem {
    const bf16* weight;  // (O,I)
    int64_t weight_stride;
    int B, I, O;
    // Whether the next kernel may start only when the rows are there, that is, when all before this kernel
    // has ended.
    bool late = false;
    // Whether what Finish fetches for a row was there before the kernels before this one, so that it is not
    // waited for.
    bool settled = false;
};

struct Eight {
    uint32_t two[4];
};

// Elements [k, k + 8) of a row, zeros past I. kWide: 16 bytes at once; I % 8 == 0 and rows are aligned then.
template <bool kWide>
__device__ __forceinline__ Eight load_eight(const bf16* row, int k, int I, bool valid) {
    Eight e = {};
    if constexpr (kWide) {
        if (valid && k < I) {
            const uint4 v = *reinterpret_cast<const uint4*>(row + k);
            e.two[0] = v.x, e.two[1] = v.y, e.two[2] = v.z, e.two[3] = v.w;
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (valid && k + i < I) e.two[i / 2] |= static_cast<uint32_t>(row[k + i].bits) << (i % 2 * 16);
    }
    return e;
}

// ---- where the rows come from ----

// Rows as they lie in memory.
template <bool kWide_>
struct PlainRows {
    static constexpr bool kWide = kWide_, kNormed = false;
    static constexpr bool kAdds = false;
    const bf16* x;
    int64_t stride;
    const float* scale = nullptr;  // (B): what the outputs of a row are multiplied with; absent = 1

    __device__ __forceinline__ Eight load(int b, int k, const Problem& p, float&) const {
        return load_eight<kWide>(x + min(b, p.B - 1) * stride, k, p.I, b < p.B);
    }
};

__device__ __forceinline__ Eight weigh(const float (&x)[8], const float* weight, float& squares) {
    float w[8];
    load<4>(weight, *reinterpret_cast<float(*)[4]>(&w[0]));
    load<4>(weight + 4, *reinterpret_cast<float(*)[4]>(&w[4]));
    Eight e;
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
        squares = fmaf(x[i], x[i], squares);
        squares = fmaf(x[i + 1], x[i + 1], squares);
        e.two[i / 2] = pack_bf16(x[i] * w[i], x[i + 1] * w[i + 1]);
    }
    return e;
}

// RMSNorm of residual + x. The rows enter the product before they are scaled, the scale of a row multiplies
// its outputs. Blocks of their own write the sum: a store between the loads would make each wait for the
// other.
struct AddNormRows {
    static constexpr bool kWide = true, kNormed = true, kAdds = true;
    const bf16* x;
    const float *residual, *weight;  // residual may be absent
    float* residual_out;
    int64_t x_stride, residual_stride, out_stride;
    float eps;

    __device__ __forceinline__ void add(int b, int k, float (&r)[8]) const {
        float before[8] = {};
        cuda::load<8>(x + b * x_stride + k, r);
        if (residual) {
            const float* from = residual + b * residual_stride + k;
            cuda::load<4>(from, *reinterpret_cast<float(*)[4]>(&before[0]));
            cuda::load<4>(from + 4, *reinterpret_cast<float(*)[4]>(&before[4]));
        }
#pragma unroll
        for (int i = 0; i < 8; ++i) r[i] += before[i];
    }
    __device__ __forceinline__ Eight load(int b, int k, const Problem& p, float& squares) const {
        if (b >= p.B || k >= p.I) return Eight{};
        float r[8];
        add(b, k, r);
        return weigh(r, weight + k, squares);
    }
    // The sums of rows [first, end), by all warps of a block.
    __device__ __forceinline__ void keep_sums(int first, int end, int I) const {
        constexpr int kInFlight = 3, kStep = kWarp * 8;
        const int lane = threadIdx.x % kWarp, warps = blockDim.x / kWarp;
        for (int b = first + static_cast<int>(threadIdx.x) / kWarp; b < end; b += warps)
            for (int k0 = lane * 8; k0 < I; k0 += kInFlight * kStep) {
                float r[kInFlight][8];
#pragma unroll
                for (int j = 0; j < kInFlight; ++j)
                    if (const int k = k0 + j * kStep; k < I) add(b, k, r[j]);
#pragma unroll
                for (int j = 0; j < kInFlight; ++j) {
                    const int k = k0 + j * kStep;
                    if (k >= I) break;
                    float* const to = residual_out + b * out_stride + k;
                    store<4>(to, *reinterpret_cast<const float(*)[4]>(&r[j][0]));
                    store<4>(to + 4, *reinterpret_cast<const float(*)[4]>(&r[j][4]));
                }
            }
    }
};

// RMSNorm of x silu(z), one group; scaled as above.
struct GatedRows {
    static constexpr bool kWide = true, kNormed = true, kAdds = false;
    const bf16 *x, *z;
    const float* weight;
    int64_t x_stride, z_stride;
    float eps;

    __device__ __forceinline__ Eight load(int b, int k, const Problem& p, float& squares) const {
        if (b >= p.B || k >= p.I) return Eight{};
        float g[8], gate[8];
        cuda::load<8>(x + b * x_stride + k, g);
        cuda::load<8>(z + b * z_stride + k, gate);
#pragma unroll
        for (int i = 0; i < 8; ++i) g[i] *= gate[i] * fast_sigmoid(gate[i]);
        return weigh(g, weight + k, squares);
    }
};

// ---- what becomes of an output ----

// Every row's elements may be read and stored in fours.
inline bool in_fours(const TensorRef& t) {
    const int64_t bytes = 4 * size_of(t.dtype);
    if (reinterpret_cast<uintptr_t>(t.data) % bytes != 0) return false;
    for (int d = 0; d + 1 < t.rank(); ++d)
        if (t.size(d) > 1 && t.stride[static_cast<size_t>(d)] % 4 != 0) return false;
    return true;
}

// y = output + bias.
struct Store {
    const float* bias;  // null = none
    void* y;
    bool y_f32;
    int64_t stride;

    struct Ahead {};
    __device__ __forceinline__ Ahead fetch(int, int) const { return {}; }
    __device__ __forceinline__ void operator()(int b, int o, float total, const Ahead&) const {
        if (bias) total += bias[o];
        const int64_t at = b * stride + o;
        if (y_f32)
            static_cast<float*>(y)[at] = total;
        else
            static_cast<bf16*>(y)[at] = from_float<bf16>(total);
    }

    // The same for four neighbouring outputs, `count` of them there; o is a multiple of four.
    static constexpr bool kManyOutputs = false;
    bool fours;  // y may be stored in fours
    struct FourRows {};
    struct FourParameters {};
    __device__ __forceinline__ void fetch(int, int, FourRows&) const {}
    __device__ __forceinline__ void fetch(int, FourParameters&) const {}
    __device__ __forceinline__ void four(int b, int o, int count, float (&total)[4], const FourParameters&,
                                         const FourRows&) const {
        if (!fours || count < 4) {
#pragma unroll
            for (int c = 0; c < 4; ++c)
                if (c < count) (*this)(b, o + c, total[c], {});
            return;
        }
        if (bias)
#pragma unroll
            for (int c = 0; c < 4; ++c) total[c] += bias[o + c];
        const int64_t at = b * stride + o;
        if (y_f32)
            store<4>(static_cast<float*>(y) + at, total);
        else
            store<4>(static_cast<bf16*>(y) + at, total);
    }
};

// One instruction; of a plain assignment behind this much arithmetic the compiler makes four.
__device__ __forceinline__ void store_float4(float* to, const float (&v)[4]) {
    __stwb(reinterpret_cast<float4*>(to), make_float4(v[0], v[1], v[2], v[3]));
}

// Outputs [first, first + channels) are the newest row of a convolution of four taps with SiLU (conv1d.h),
// whose result is stored in their place. An output is rounded to bf16 before, as everywhere else.
struct ConvStep {
    static constexpr int kTaps = 4;
    const float *taps, *bias;  // (channels, kTaps), aligned to 16 bytes; bias may be absent
    const float* halo;         // (B, kTaps - 1, channels)
    float* halo_out;           // may be `halo`
    int64_t halo_member, halo_row, out_member, out_row;
    bf16* y;
    int64_t stride;
    int first, channels;

    struct Ahead {
        float tap[kTaps] = {}, before[kTaps - 1] = {}, bias = 0;
    };
    __device__ __forceinline__ Ahead fetch(int b, int o) const {
        Ahead a;
        const int d = o - first;
        if (d < 0 || d >= channels) return a;
        load<kTaps>(taps + int64_t{d} * kTaps, a.tap);
        if (bias) a.bias = bias[d];
#pragma unroll
        for (int k = 0; k + 1 < kTaps; ++k) a.before[k] = halo[b * halo_member + k * halo_row + d];
        return a;
    }
    __device__ __forceinline__ void operator()(int b, int o, float total, const Ahead& a) const {
        const int d = o - first;
        bf16 out = from_float<bf16>(total);
        if (d >= 0 && d < channels) {
            const float newest = to_float(out);
            float sum = a.bias;
#pragma unroll
            for (int k = 0; k + 1 < kTaps; ++k) {
                sum += a.tap[k] * a.before[k];
                halo_out[b * out_member + k * out_row + d] = k + 2 == kTaps ? newest : a.before[k + 1];
            }
            sum += a.tap[kTaps - 1] * newest;
            out = from_float<bf16>(sum * fast_sigmoid(sum));
        }
        y[b * stride + o] = out;
    }

    // The same for four neighbouring outputs, `count` of them there; o is a multiple of four.
    static constexpr bool kManyOutputs = true;
    bool fours;  // y and the channels of `halo` may be read and stored in fours, `first` and `channels`
                 // consist of them
    struct FourRows {
        float before[kTaps - 1][4];
    };
    struct alignas(16) FourParameters {
        float tap[4][kTaps], bias[4];
    };
    __device__ __forceinline__ bool convolves(int o) const {
        return fours && o >= first && o - first < channels;
    }
    __device__ __forceinline__ void fetch(int b, int o, FourRows& rows) const {
        if (!convolves(o)) return;
#pragma unroll
        for (int k = 0; k + 1 < kTaps; ++k)
            load<4>(halo + b * halo_member + k * halo_row + (o - first), rows.before[k]);
    }
    __device__ __forceinline__ void fetch(int o, FourParameters& parameters) const {
        if (!convolves(o)) return;
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            load<kTaps>(taps + int64_t{o - first + c} * kTaps, parameters.tap[c]);
            parameters.bias[c] = bias ? bias[o - first + c] : 0.0f;
        }
    }
    __device__ __forceinline__ void four(int b, int o, int count, const float (&total)[4],
                                         const FourParameters& parameters, const FourRows& rows) const {
        if (!fours || count < 4) {
#pragma unroll
            for (int c = 0; c < 4; ++c)
                if (c < count) (*this)(b, o + c, total[c], fetch(b, o + c));
            return;
        }
        float out[4];
#pragma unroll
        for (int c = 0; c < 4; ++c) out[c] = total[c];
        if (convolves(o)) {
            float newest[4];
            float* const to = halo_out + b * out_member + (o - first);
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                newest[c] = to_float(from_float<bf16>(total[c]));
                float sum = parameters.bias[c];
#pragma unroll
                for (int k = 0; k + 1 < kTaps; ++k) sum += parameters.tap[c][k] * rows.before[k][c];
                sum += parameters.tap[c][kTaps - 1] * newest[c];
                out[c] = sum * fast_sigmoid(sum);
            }
#pragma unroll
            for (int k = 0; k + 2 < kTaps; ++k) store_float4(to + k * out_row, rows.before[k + 1]);
            store_float4(to + (kTaps - 2) * out_row, newest);
        }
        store<4>(y + b * stride + o, out);
    }
};

}  // namespace adder::cuda::step
