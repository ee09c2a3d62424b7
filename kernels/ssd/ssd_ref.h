// The recurrence of ssd.h as plain loops: the specification that every faster form is held to.
// S = float, double or std::complex<double> (the last for derivatives by the complex step); Build as in
// not_vectorized.h.
#pragma once
#include <cmath>
#include <complex>
#include <cstdint>

#include "core/ceil_div.h"
#include "core/view.h"
#include "kernels/common/not_vectorized.h"
#include "kernels/common/ref_math.h"
#include "kernels/ssd/ssd.h"

namespace adder {

// The arguments of ssd.h, typed. Head h reads group h / (H / G).
template <class S>
struct SsdProblem {
    int64_t B = 0, L = 0, H = 0, P = 0, N = 0, G = 1;
    bool zoh = false;
    View<const S, 3> x, dt_raw, Bm, C;
    const S *A_log = nullptr, *D = nullptr, *dt_bias = nullptr;
    View<const uint8_t, 2> start;
    View<const S, 4> h0;

    int64_t chunks() const { return ceil_div(L, kSsdChunk); }
    int64_t group(int64_t h) const { return h / (H / G); }
    bool starts(int64_t b, int64_t t) const { return start && start(b, t) != 0; }
};

template <class S>
struct SsdResult {
    View<S, 3> y;  // may be absent
    View<S, 4> hT;
    S* chunk_states = nullptr;  // (B,chunks,H,P,N); may be absent
};

template <class S>
struct SsdGradients {
    View<const S, 3> d_y;
    View<S, 3> d_x, d_dt_raw, d_B, d_C;
    S *d_A_log = nullptr, *d_D = nullptr, *d_dt_bias = nullptr;
    View<S, 4> d_h;  // may be absent
};

namespace ref {

// What one step of one head multiplies with: state by `decay` = exp(log_decay), input by `gain`.
template <class S>
struct SsdStep {
    S dt, A, log_decay, decay, gain;
};

template <class S>
SsdStep<S> ssd_coefficients(const SsdProblem<S>& a, int64_t b, int64_t t, int64_t h) {
    using std::exp;
    SsdStep<S> s;
    s.dt = softplus(a.dt_raw(b, t, h) + a.dt_bias[h]);
    s.A = -exp(a.A_log[h]);
    s.log_decay = s.dt * s.A;
    s.decay = exp(s.log_decay);
    s.gain = a.zoh ? s.dt * zoh_factor(s.log_decay) : s.dt;
    return s;
}

// Advances one head's state (P,N) by step t; writes y(b,t,h,:) unless y is absent.
template <class S, class Build = AsBuilt>
void ssd_advance(const SsdProblem<S>& a, int64_t b, int64_t t, int64_t h, S* state, const View<S, 3>& y) {
    const SsdStep<S> s = ssd_coefficients(a, b, t, h);
    const S* B = &a.Bm(b, t, a.group(h) * a.N);
    const S* C = &a.C(b, t, a.group(h) * a.N);
    for (int64_t p = 0; p < a.P; ++p) {
        const S x = a.x(b, t, h * a.P + p), gx = s.gain * x;
        S sum = S(0);
        for (int64_t n = 0; n < a.N; ++n) {
            S& v = state[p * a.N + n];
            v = s.decay * v + gx * B[n];
            sum += v * C[n];
        }
        if (y) y(b, t, h * a.P + p) = sum + a.D[h] * x;
    }
}

// `state` is scratch of P * N.
template <class S, class Build = AsBuilt>
void ssd_forward(const SsdProblem<S>& a, const SsdResult<S>& out, S* state) {
    const int64_t size = a.P * a.N;
    for (int64_t b = 0; b < a.B; ++b)
        for (int64_t h = 0; h < a.H; ++h) {
            for (int64_t i = 0; i < size; ++i) state[i] = a.h0 ? a.h0(b, h, i / a.N, i % a.N) : S(0);
            for (int64_t t = 0; t < a.L; ++t) {
                if (out.chunk_states && t % kSsdChunk == 0) {
                    S* kept = out.chunk_states + ((b * a.chunks() + t / kSsdChunk) * a.H + h) * size;
                    for (int64_t i = 0; i < size; ++i) kept[i] = state[i];
                }
                if (a.starts(b, t))
                    for (int64_t i = 0; i < size; ++i) state[i] = S(0);
                ssd_advance<S, Build>(a, b, t, h, state, out.y);
            }
            for (int64_t i = 0; i < size; ++i) out.hT(b, h, i / a.N, i % a.N) = state[i];
        }
}

// One step back: `after` and `before` are the states around step t (before: null after a start), `d_state` is
// the gradient of `after` on entry and of `before` on return.
template <class S, class Build = AsBuilt>
void ssd_retreat(const SsdProblem<S>& a, const SsdGradients<S>& g, int64_t b, int64_t t, int64_t h,
                 const S* after, const S* before, S* d_state) {
    const SsdStep<S> s = ssd_coefficients(a, b, t, h);
    const int64_t row = a.group(h) * a.N;
    S d_decay = S(0), d_gain = S(0);
    for (int64_t p = 0; p < a.P; ++p) {
        const S x = a.x(b, t, h * a.P + p), dy = g.d_y(b, t, h * a.P + p);
        S d_gx = S(0);
        for (int64_t n = 0; n < a.N; ++n) {
            const int64_t i = p * a.N + n;
            d_state[i] += dy * a.C(b, t, row + n);
            g.d_C(b, t, row + n) += dy * after[i];
            g.d_B(b, t, row + n) += d_state[i] * s.gain * x;
            d_gx += d_state[i] * a.Bm(b, t, row + n);
            if (before) d_decay += d_state[i] * before[i];
            d_state[i] = before ? d_state[i] * s.decay : S(0);
        }
        g.d_x(b, t, h * a.P + p) = d_gx * s.gain + a.D[h] * dy;
        d_gain += d_gx * x;
        g.d_D[h] += dy * x;
    }
    const S d_log = d_decay * s.decay;
    S d_dt = d_log * s.A, d_A = d_log * s.dt;
    if (a.zoh) {
        d_dt += d_gain * s.decay;
        d_A += d_gain * s.dt * s.dt * d_zoh_factor(s.log_decay);
    } else {
        d_dt += d_gain;
    }
    const S d_raw = d_dt * sigmoid(a.dt_raw(b, t, h) + a.dt_bias[h]);
    g.d_dt_raw(b, t, h) = d_raw;
    g.d_dt_bias[h] += d_raw;
    g.d_A_log[h] += d_A * s.A;
}

// `scratch` holds (kSsdChunk + 2) * P * N.
template <class S, class Build = AsBuilt>
void ssd_backward(const SsdProblem<S>& a, const S* chunk_states, const SsdGradients<S>& g, S* scratch) {
    const int64_t size = a.P * a.N;
    S* d_state = scratch + (kSsdChunk + 1) * size;
    for (int64_t b = 0; b < a.B; ++b)
        for (int64_t t = 0; t < a.L; ++t)
            for (int64_t i = 0; i < a.G * a.N; ++i) g.d_B(b, t, i) = g.d_C(b, t, i) = S(0);
    for (int64_t b = 0; b < a.B; ++b)
        for (int64_t h = 0; h < a.H; ++h) {
            for (int64_t i = 0; i < size; ++i) d_state[i] = g.d_h ? g.d_h(b, h, i / a.N, i % a.N) : S(0);
            for (int64_t c = a.chunks() - 1; c >= 0; --c) {
                const int64_t t0 = c * kSsdChunk, t1 = t0 + kSsdChunk < a.L ? t0 + kSsdChunk : a.L;
                const S* kept = chunk_states + ((b * a.chunks() + c) * a.H + h) * size;
                for (int64_t i = 0; i < size; ++i) scratch[i] = kept[i];
                for (int64_t t = t0; t < t1; ++t) {
                    const S* before = scratch + (t - t0) * size;
                    S* after = scratch + (t - t0 + 1) * size;
                    for (int64_t i = 0; i < size; ++i) after[i] = a.starts(b, t) ? S(0) : before[i];
                    ssd_advance<S, Build>(a, b, t, h, after, View<S, 3>{});
                }
                for (int64_t t = t1 - 1; t >= t0; --t) {
                    const S* before = scratch + (t - t0) * size;
                    ssd_retreat<S, Build>(a, g, b, t, h, before + size, a.starts(b, t) ? nullptr : before,
                                          d_state);
                }
            }
            if (g.d_h)
                for (int64_t i = 0; i < size; ++i) g.d_h(b, h, i / a.N, i % a.N) = d_state[i];
        }
}

// L = 1; `state` (B,H,P,N) in place; `scratch` holds P * N.
template <class S>
void ssd_step(const SsdProblem<S>& a, const View<S, 4>& state, const View<S, 3>& y, S* scratch) {
    for (int64_t b = 0; b < a.B; ++b)
        for (int64_t h = 0; h < a.H; ++h) {
            for (int64_t i = 0; i < a.P * a.N; ++i)
                scratch[i] = a.starts(b, 0) ? S(0) : state(b, h, i / a.N, i % a.N);
            ssd_advance(a, b, 0, h, scratch, y);
            for (int64_t i = 0; i < a.P * a.N; ++i) state(b, h, i / a.N, i % a.N) = scratch[i];
        }
}

}  // namespace ref
}  // namespace adder
