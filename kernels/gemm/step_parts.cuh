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

// A source may know what the outputs of a row are multiplied with. Eight neighbouring lanes then ask for it
// together, fetch_scale, and get it with the bits that it has anywhere, scale_of.
inline constexpr int kScaleLanes = 8;

// Rows as they lie in memory.
template <bool kWide_>
struct PlainRows {
    static constexpr bool kWide = kWide_, kNormed = false;
    const bf16* x;
    int64_t stride;
    const float* scale = nullptr;  // (B); absent = 1

    __device__ __forceinline__ Eight load(int b, int k, const Problem& p, float&) const {
        return load_eight<kWide>(x + min(b, p.B - 1) * stride, k, p.I, b < p.B);
    }
    using RowScale = float;
    __device__ __forceinline__ bool scaled() const { return scale != nullptr; }
    __device__ __forceinline__ void fetch_scale(int b, const Problem& p, RowScale& to) const {
        to = scale[min(b, p.B - 1)];
    }
    __device__ __forceinline__ float scale_of(int, const Problem&, const RowScale& ahead) const {
        return ahead;
    }
};

// Rows of a stream (projection_step.h), which has left the squares of eight neighbours each. Order of sums: a
// lane's pieces of four, the lanes by a butterfly.
struct StreamRows {
    static constexpr bool kWide = true, kNormed = false;
    const bf16* x;
    int64_t stride;
    const float* squares;  // (B, I / 8), rows aligned to 16 bytes; absent = rows that were normed before
    int64_t squares_stride;
    float eps;

    __device__ __forceinline__ Eight load(int b, int k, const Problem& p, float&) const {
        return load_eight<kWide>(x + min(b, p.B - 1) * stride, k, p.I, b < p.B);
    }
    static constexpr int kAhead = 4;  // pieces of a lane that are asked for early: all up to I = 1,024
    struct RowScale {
        float piece[kAhead][4];
    };
    __device__ __forceinline__ bool scaled() const { return squares != nullptr; }
    __device__ __forceinline__ void load_piece(int b, int i, const Problem& p, float (&to)[4]) const {
        const float* const row = squares + min(b, p.B - 1) * squares_stride;
        const int n = p.I / 8, at = (static_cast<int>(threadIdx.x) % kScaleLanes + i * kScaleLanes) * 4;
        if (at + 4 <= n) return cuda::load<4>(row + at, to);
#pragma unroll
        for (int j = 0; j < 4; ++j) to[j] = at + j < n ? row[at + j] : 0.0f;
    }
    __device__ __forceinline__ void fetch_scale(int b, const Problem& p, RowScale& to) const {
#pragma unroll
        for (int i = 0; i < kAhead; ++i) load_piece(b, i, p, to.piece[i]);
    }
    __device__ __forceinline__ float scale_of(int b, const Problem& p, const RowScale& ahead) const {
        const auto sum_of = [](const float(&v)[4]) { return (v[0] + v[1]) + (v[2] + v[3]); };
        float total = 0;
#pragma unroll
        for (int i = 0; i < kAhead; ++i) total += sum_of(ahead.piece[i]);
        for (int i = kAhead; i * kScaleLanes * 4 < p.I / 8; ++i) {
            float piece[4];
            load_piece(b, i, p, piece);
            total += sum_of(piece);
        }
        return 1 / sqrtf(warp_sum<kScaleLanes>(total) / static_cast<float>(p.I) + eps);
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

// RMSNorm of x silu(z), one group. The rows enter the product before they are scaled, the scale of a row
// multiplies its outputs.
struct GatedRows {
    static constexpr bool kWide = true, kNormed = true;
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
    struct RowScale {};  // the product sums the squares itself
    __device__ __forceinline__ bool scaled() const {
        return false;
    }
    __device__ __forceinline__ void fetch_scale(int, const Problem&, RowScale&) const {}
    __device__ __forceinline__ float scale_of(int, const Problem&, const RowScale&) const {
        return 1;
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

__device__ __forceinline__ float squares_of_four(const float (&r)[4]) {
    float sum = r[0] * r[0];
#pragma unroll
    for (int i = 1; i < 4; ++i) sum = fmaf(r[i], r[i], sum);
    return sum;
}

// The output goes into a stream (projection_step.h): r += output, rounded to bf16 as Store rounds it, then r
// times the weight of the norm that comes and the squares. Outputs are a multiple of eight, rows are aligned.
struct JoinStream {
    float* residual;
    const float* weight;
    bf16* rows;
    float* squares;
    int64_t residual_stride, rows_stride, squares_stride;

    struct Ahead {
        float before = 0, weight = 0;
    };
    __device__ __forceinline__ Ahead fetch(int b, int o) const {
        return {residual[b * residual_stride + o], weight[o]};
    }
    // By the eight lanes of eight neighbouring outputs together.
    __device__ __forceinline__ void operator()(int b, int o, float total, const Ahead& a) const {
        const float r = a.before + to_float(from_float<bf16>(total));
        residual[b * residual_stride + o] = r;
        rows[b * rows_stride + o] = from_float<bf16>(r * a.weight);
        const unsigned lanes = 0xffu << (threadIdx.x % kWarp / 8 * 8);
        float lower[4], upper[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            lower[i] = __shfl_sync(lanes, r, i, 8);
            upper[i] = __shfl_sync(lanes, r, i + 4, 8);
        }
        if (o % 8 == 0) squares[b * squares_stride + o / 8] = squares_of_four(lower) + squares_of_four(upper);
    }

    // The same for four neighbouring outputs; the lane beside has the other four of eight.
    static constexpr bool kManyOutputs = false;
    struct FourRows {
        float4 before;
    };
    struct alignas(16) FourParameters {
        float weight[4];
    };
    // Not by way of the first-level cache, which may hold what was there before another multiprocessor wrote.
    __device__ __forceinline__ void fetch(int b, int o, FourRows& to) const {
        to.before = __ldcg(reinterpret_cast<const float4*>(residual + b * residual_stride + o));
    }
    __device__ __forceinline__ void fetch(int o, FourParameters& parameters) const {
#pragma unroll
        for (int c = 0; c < 4; ++c) parameters.weight[c] = weight[o + c];
    }
    __device__ __forceinline__ void four(int b, int o, int, const float (&total)[4],
                                         const FourParameters& parameters, const FourRows& fetched) const {
        const float before[4] = {fetched.before.x, fetched.before.y, fetched.before.z, fetched.before.w};
        float r[4], row[4];
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            r[c] = before[c] + to_float(from_float<bf16>(total[c]));
            row[c] = r[c] * parameters.weight[c];
        }
        store_float4(residual + b * residual_stride + o, r);
        store<4>(rows + b * rows_stride + o, row);
        const float own = squares_of_four(r);
        const float sum = own + __shfl_xor_sync(3u << (threadIdx.x % kWarp / 2 * 2), own, 1);
        if (o % 8 == 0) squares[b * squares_stride + o / 8] = sum;
    }
};

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
