// Register tiles of the SSD kernels, once per instruction set: a tile is MR rows by NV vectors of a product A
// B, where A is read one element at a time (any strides) and B in rows of whole vectors. Buffers that are
// read as vectors have widths that are multiples of kPad. The order of a sum depends on k alone, whatever the
// tile size; sums over time run towards the present, from the terms that have decayed most to those that have
// decayed least, as the recurrence does: the other way round loses digits of what comes late.
#if defined(ADDER_SSD_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ADDER_SSD_TILE_INL_H_
#undef ADDER_SSD_TILE_INL_H_
#else
#define ADDER_SSD_TILE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>

#include "kernels/ssd/ssd_plan.h"

HWY_BEFORE_NAMESPACE();
namespace adder::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr int64_t kPad = kSsdPad;
using DF = hn::CappedTag<float, kPad>;
using VF = hn::Vec<DF>;
inline constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(DF()));
// 16 accumulators of 32 registers, or 8 of 16.
inline constexpr int kTileRows = HWY_TARGET <= HWY_AVX3 ? 8 : 4;

constexpr int64_t padded(int64_t n) {
    return ssd_padded(n);
}

// Element (r, k) is data[r * row + k * step].
struct Broadcast {
    const float* data;
    int64_t row, step;
};

template <int MR, int NV>
struct Tile {
    VF v[MR][NV];

    HWY_INLINE void zero() {
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r)
#pragma GCC unroll 2
            for (int c = 0; c < NV; ++c) v[r][c] = hn::Zero(DF());
    }
    HWY_INLINE void load(const float* from, int64_t row) {
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r)
#pragma GCC unroll 2
            for (int c = 0; c < NV; ++c) v[r][c] = hn::LoadU(DF(), from + r * row + c * kLanes);
    }
    HWY_INLINE void store(float* to, int64_t row) const {
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r)
#pragma GCC unroll 2
            for (int c = 0; c < NV; ++c) hn::StoreU(v[r][c], DF(), to + r * row + c * kLanes);
    }
    HWY_INLINE void scale(VF by) {
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r)
#pragma GCC unroll 2
            for (int c = 0; c < NV; ++c) v[r][c] = hn::Mul(v[r][c], by);
    }
    HWY_INLINE void scale_rows(const float* by) {
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r) {
            const VF s = hn::Set(DF(), by[r]);
#pragma GCC unroll 2
            for (int c = 0; c < NV; ++c) v[r][c] = hn::Mul(v[r][c], s);
        }
    }
    // += by * other.
    HWY_INLINE void add_scaled(VF by, const Tile& other) {
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r)
#pragma GCC unroll 2
            for (int c = 0; c < NV; ++c) v[r][c] = hn::MulAdd(by, other.v[r][c], v[r][c]);
    }
    // Adds each row's elementwise product with `other`, one vector a row, to `to`, whose rows are kPad apart.
    HWY_INLINE void add_dots(const Tile& other, float* to) const {
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r) {
            VF sum = hn::LoadU(DF(), to + r * kPad);
#pragma GCC unroll 2
            for (int c = 0; c < NV; ++c) sum = hn::MulAdd(v[r][c], other.v[r][c], sum);
            hn::StoreU(sum, DF(), to + r * kPad);
        }
    }
    // Rows [begin, end) += A(rows, k) B(k).
    template <int begin, int end>
    HWY_INLINE void add_step(Broadcast a, const float* b, int64_t k) {
        VF bv[NV];
#pragma GCC unroll 2
        for (int c = 0; c < NV; ++c) bv[c] = hn::LoadU(DF(), b + c * kLanes);
#pragma GCC unroll 8
        for (int r = begin; r < end; ++r) {
            const VF av = hn::Set(DF(), a.data[r * a.row + k * a.step]);
#pragma GCC unroll 2
            for (int c = 0; c < NV; ++c) v[r][c] = hn::MulAdd(av, bv[c], v[r][c]);
        }
    }
    HWY_INLINE void add(Broadcast a, const float* b, int64_t b_row, int64_t k0, int64_t k1) {
        for (int64_t k = k0; k < k1; ++k) add_step<0, MR>(a, b + k * b_row, k);
    }
    HWY_INLINE void add_backwards(Broadcast a, const float* b, int64_t b_row, int64_t k0, int64_t k1) {
        for (int64_t k = k1; k-- > k0;) add_step<0, MR>(a, b + k * b_row, k);
    }
    // The tile's rows are steps r0 .. r0 + MR - 1; sums over k <= row: what lies above the diagonal is never
    // read, so that a NaN stays in its own future.
    HWY_INLINE void add_lower(Broadcast a, const float* b, int64_t b_row, int64_t r0) {
        add(a, b, b_row, 0, r0);
        add_lower_corner<0>(a, b, b_row, r0);
    }
    // Sums over k from end - 1 down to the row.
    HWY_INLINE void add_upper(Broadcast a, const float* b, int64_t b_row, int64_t r0, int64_t end) {
        add_backwards(a, b, b_row, r0 + MR, end);
        add_upper_corner<MR - 1>(a, b, b_row, r0);
    }

  private:
    template <int i>
    HWY_INLINE void add_lower_corner(Broadcast a, const float* b, int64_t b_row, int64_t r0) {
        if constexpr (i < MR) {
            add_step<i, MR>(a, b + (r0 + i) * b_row, r0 + i);
            add_lower_corner<i + 1>(a, b, b_row, r0);
        }
    }
    template <int i>
    HWY_INLINE void add_upper_corner(Broadcast a, const float* b, int64_t b_row, int64_t r0) {
        if constexpr (i >= 0) {
            add_step<0, i + 1>(a, b + (r0 + i) * b_row, r0 + i);
            add_upper_corner<i - 1>(a, b, b_row, r0);
        }
    }
};

template <int n>
using Int = std::integral_constant<int, n>;

// body(Int<MR>, r0) for row tiles that cover [0, rows).
template <class Body>
HWY_INLINE void for_row_tiles(int64_t rows, Body&& body) {
    int64_t r = 0;
    for (; r + kTileRows <= rows; r += kTileRows) body(Int<kTileRows>(), r);
    if constexpr (kTileRows > 4)
        if (r + 4 <= rows) body(Int<4>(), r), r += 4;
    if (r + 2 <= rows) body(Int<2>(), r), r += 2;
    if (r < rows) body(Int<1>(), r);
}

// body(Int<MR>, Int<NV>, r0, c0) for tiles that cover rows x width; width is a multiple of kPad.
template <class Body>
HWY_INLINE void for_tiles(int64_t rows, int64_t width, Body&& body) {
    int64_t c = 0;
    for (; c + 2 * kLanes <= width; c += 2 * kLanes)
        for_row_tiles(rows, [&](auto mr, int64_t r) HWY_ATTR { body(mr, Int<2>(), r, c); });
    if constexpr (2 * kLanes > kPad)
        if (c < width) for_row_tiles(rows, [&](auto mr, int64_t r) HWY_ATTR { body(mr, Int<1>(), r, c); });
}

// to[r][0 .. padded(cols)) = from[r][0 .. cols), then zeros.
HWY_INLINE void pack(float* to, int64_t to_row, const float* from, int64_t from_row, int64_t rows,
                     int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* f = from + r * from_row;
        float* t = to + r * to_row;
        int64_t c = 0;
        for (; c + kLanes <= cols; c += kLanes) hn::StoreU(hn::LoadU(DF(), f + c), DF(), t + c);
        for (; c < cols; ++c) t[c] = f[c];
        for (const int64_t end = padded(cols); c < end; ++c) t[c] = 0;
    }
}

// to[c][r] = from[r][c].
HWY_INLINE void transpose(float* to, int64_t to_row, const float* from, int64_t from_row, int64_t rows,
                          int64_t cols) {
    const auto plain = [&](int64_t r0, int64_t r1, int64_t c0, int64_t c1) HWY_ATTR {
        for (int64_t r = r0; r < r1; ++r)
            for (int64_t c = c0; c < c1; ++c) to[c * to_row + r] = from[r * from_row + c];
    };
#if HWY_TARGET == HWY_SCALAR
    plain(0, rows, 0, cols);
#else
    const hn::FixedTag<float, 4> d;
    const int64_t rows4 = rows / 4 * 4, cols4 = cols / 4 * 4;
    for (int64_t r = 0; r < rows4; r += 4)
        for (int64_t c = 0; c < cols4; c += 4) {
            const float* f = from + r * from_row + c;
            const auto r0 = hn::LoadU(d, f), r1 = hn::LoadU(d, f + from_row);
            const auto r2 = hn::LoadU(d, f + 2 * from_row), r3 = hn::LoadU(d, f + 3 * from_row);
            const auto a = hn::InterleaveLower(d, r0, r2), b = hn::InterleaveLower(d, r1, r3);
            const auto e = hn::InterleaveUpper(d, r0, r2), g = hn::InterleaveUpper(d, r1, r3);
            float* t = to + c * to_row + r;
            hn::StoreU(hn::InterleaveLower(d, a, b), d, t);
            hn::StoreU(hn::InterleaveUpper(d, a, b), d, t + to_row);
            hn::StoreU(hn::InterleaveLower(d, e, g), d, t + 2 * to_row);
            hn::StoreU(hn::InterleaveUpper(d, e, g), d, t + 3 * to_row);
        }
    plain(rows4, rows, 0, cols4);
    plain(0, rows, cols4, cols);
#endif
}

// Highway's Exp maps NaN to zero.
HWY_INLINE VF exp_of(VF x) {
    return hn::IfThenElse(hn::Eq(x, x), hn::Exp(DF(), x), x);
}

// log(1 + exp(x)).
HWY_INLINE VF softplus_of(VF x) {
    const VF low = hn::Log1p(DF(), exp_of(hn::Neg(hn::Abs(x))));
    return hn::IfThenElse(hn::Eq(x, x), hn::Add(hn::Max(x, hn::Zero(DF())), low), x);
}

HWY_INLINE VF sigmoid_of(VF x) {
    const VF e = exp_of(hn::Neg(hn::Abs(x)));
    const VF one = hn::Set(DF(), 1.0f);
    return hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(DF())), e, one), hn::Add(one, e));
}

// (exp(x) - 1) / x, by its series where the quotient is 0 / 0 or close to it.
HWY_INLINE VF zoh_factor_of(VF x) {
    const VF one = hn::Set(DF(), 1.0f);
    const VF series = hn::MulAdd(x, hn::MulAdd(x, hn::Set(DF(), 1.0f / 6), hn::Set(DF(), 0.5f)), one);
    const VF quotient = hn::Div(hn::Expm1(DF(), x), x);
    const VF value = hn::IfThenElse(hn::Lt(hn::Abs(x), hn::Set(DF(), 1e-3f)), series, quotient);
    return hn::IfThenElse(hn::Eq(x, x), value, x);
}

// Derivative of zoh_factor_of: (exp(x) - zoh_factor) / x, which cancels below 0.5; there the series
// sum over n of n x^(n-1) / (n+1)!.
HWY_INLINE VF d_zoh_factor_of(VF x) {
    VF series = hn::Zero(DF());
    float factorial[10] = {1};
    for (int n = 1; n < 10; ++n) factorial[n] = factorial[n - 1] * static_cast<float>(n + 1);
    for (int n = 9; n >= 1; --n)
        series = hn::MulAdd(series, x, hn::Set(DF(), static_cast<float>(n) / factorial[n]));
    const VF quotient = hn::Div(hn::Sub(exp_of(x), zoh_factor_of(x)), x);
    const VF value = hn::IfThenElse(hn::Lt(hn::Abs(x), hn::Set(DF(), 0.5f)), series, quotient);
    return hn::IfThenElse(hn::Eq(x, x), value, x);
}

HWY_INLINE float sum_of(VF v) {
    return hn::GetLane(hn::SumOfLanes(DF(), v));
}

// Per step of one head over at most kSsdChunk steps, and decays between steps of one run. The sum of log
// decays restarts with every run, is carried in f64 and kept as hi + lo in two floats, so that a difference
// of two sums is as good as a sum of the terms between them. No decay can overflow: every exponent is a sum
// of non-positive terms.
struct HeadSteps {
    static constexpr int64_t kSize = kSsdChunk + kPad;
    alignas(64) float raw[kSize] = {}, dt[kSize] = {}, log_decay[kSize] = {}, gain[kSize] = {};
    alignas(64) float hi[kSize] = {}, lo[kSize] = {};
    alignas(64) float from_begin[kSize] = {};  // decay of the state before the run until after step i
    alignas(64) float to_end[kSize] = {};      // decay from after step j to the end of the run
    double A = 0;

    // raw (bias included), dt, log_decay, gain of steps [t0, t0 + count).
    HWY_INLINE void load(const SsdProblemF& a, int64_t b, int64_t h, int64_t t0, int64_t count) {
        A = -std::exp(static_cast<double>(a.A_log[h]));
        const float* from = &a.dt_raw(b, t0, h);
        for (int64_t i = 0; i < count; ++i) raw[i] = from[i * a.dt_raw.stride[1]] + a.dt_bias[h];
        for (int64_t i = count; i < padded(count); ++i) raw[i] = 0;
        const VF rate = hn::Set(DF(), static_cast<float>(A));
        for (int64_t i = 0; i < count; i += kLanes) {
            const VF step = softplus_of(hn::LoadU(DF(), raw + i));
            const VF x = hn::Mul(step, rate);
            hn::StoreU(step, DF(), dt + i);
            hn::StoreU(x, DF(), log_decay + i);
            hn::StoreU(a.zoh ? hn::Mul(step, zoh_factor_of(x)) : step, DF(), gain + i);
        }
    }

    // hi, lo, from_begin, to_end of the run [begin, end) of loaded steps.
    HWY_INLINE void sum_run(int64_t begin, int64_t end) {
        double sum = 0;
        for (int64_t i = begin; i < end; ++i) {
            sum += static_cast<double>(dt[i]) * A;
            hi[i] = static_cast<float>(sum);
            lo[i] = static_cast<float>(sum - static_cast<double>(hi[i]));
        }
        const VF last_hi = hn::Set(DF(), hi[end - 1]), last_lo = hn::Set(DF(), lo[end - 1]);
        // Whole vectors: what is written past `end` belongs to the next run, which comes later.
        for (int64_t i = begin; i < end; i += kLanes) {
            const VF vh = hn::LoadU(DF(), hi + i), vl = hn::LoadU(DF(), lo + i);
            hn::StoreU(exp_of(hn::Add(vh, vl)), DF(), from_begin + i);
            hn::StoreU(exp_of(hn::Add(hn::Sub(last_hi, vh), hn::Sub(last_lo, vl))), DF(), to_end + i);
        }
    }

    // Decays from after steps j .. j + kLanes - 1 to after step i of the same run; lanes above i are
    // meaningless.
    HWY_INLINE VF between(int64_t i, int64_t j) const {
        const VF h = hn::Sub(hn::Set(DF(), hi[i]), hn::LoadU(DF(), hi + j));
        const VF l = hn::Sub(hn::Set(DF(), lo[i]), hn::LoadU(DF(), lo + j));
        return exp_of(hn::Add(h, l));
    }
};

}  // namespace HWY_NAMESPACE
}  // namespace adder::cpu
HWY_AFTER_NAMESPACE();

#endif
