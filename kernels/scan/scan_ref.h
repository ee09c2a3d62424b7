// The selective scan as plain loops: the specification to read beside scan.h and the paper (arXiv 2312.00752,
// algorithm 2), and the oracle of the other implementations. S = float, double, or std::complex<double> for
// the complex step.
#pragma once
#include <cmath>
#include <complex>
#include <type_traits>

#include "core/view.h"
#include "kernels/common/discretization.h"
#include "kernels/common/not_vectorized.h"
#include "kernels/common/ref_math.h"
#include "kernels/scan/scan.h"

namespace adder::ref {

// The arguments of ScanArgs, typed; z, start and h0 may be absent.
template <class S>
struct Scan {
    View<const S, 3> u, dt_raw;    // (B,L,D)
    View<const S, 2> A_log;        // (D,N)
    View<const S, 3> B, C;         // (B,L,N)
    View<const S, 1> D, dt_bias;   // (D)
    View<const S, 3> z;            // (B,L,D)
    View<const uint8_t, 2> start;  // (B,L)
    View<const S, 3> h0;           // (B,D,N)
    Discretization discretization = Discretization::euler;

    bool starts_at(int64_t b, int64_t t) const { return start && start(b, t) != 0; }
};

// As ScanGrads; d_z and d_h may be absent.
template <class S>
struct ScanGradients {
    View<const S, 3> d_y;
    View<S, 3> d_u, d_dt_raw, d_z, d_B, d_C;
    View<S, 2> d_A_log;
    View<S, 1> d_D, d_dt_bias;
    View<S, 3> d_h;
};

// a and b / B of one step, and the derivatives of the latter (that by A is for zoh only: euler's b does not
// depend on A).
template <class S>
struct ScanStep {
    S a, weight, d_weight_d_dt, d_weight_d_A;

    ScanStep(Discretization discretization, const S& dt, const S& A) {
        using std::exp;
        const S x = dt * A;
        a = exp(x);
        if (discretization == Discretization::euler) {
            weight = dt;
            d_weight_d_dt = S(1);
        } else {
            weight = dt * zoh_factor(x);
            d_weight_d_dt = a;
            d_weight_d_A = dt * dt * d_zoh_factor(x);
        }
    }
};

// y, chunk_states (B, chunks, N, D) may be absent. `memory`: room for scan_forward_values(N) values.
inline int64_t scan_forward_values(int64_t N) {
    return 2 * N;
}

template <class S, class Build = AsBuilt>
void scan_forward(const Scan<S>& s, View<S, 3> y, View<S, 3> hT, View<S, 4> chunk_states, S* memory) {
    using std::exp;
    const int64_t n_batch = s.u.shape[0], L = s.u.shape[1], n_channels = s.u.shape[2], N = s.A_log.shape[1];
    S* const A = memory;
    S* const h = memory + N;
    for (int64_t b = 0; b < n_batch; ++b) {
        for (int64_t d = 0; d < n_channels; ++d) {
            for (int64_t n = 0; n < N; ++n) {
                A[n] = -exp(s.A_log(d, n));
                h[n] = s.h0 ? s.h0(b, d, n) : S(0);
            }
            for (int64_t t = 0; t < L; ++t) {
                if (chunk_states && t % kScanChunk == 0)
                    for (int64_t n = 0; n < N; ++n) chunk_states(b, t / kScanChunk, n, d) = h[n];
                const S dt = softplus(S(s.dt_raw(b, t, d) + s.dt_bias(d)));
                const S u = s.u(b, t, d);
                S sum(0);
                for (int64_t n = 0; n < N; ++n) {
                    const ScanStep<S> step(s.discretization, dt, A[n]);
                    const S before = s.starts_at(b, t) ? S(0) : h[n];
                    h[n] = step.a * before + step.weight * s.B(b, t, n) * u;
                    sum += s.C(b, t, n) * h[n];
                }
                if (y) y(b, t, d) = (sum + s.D(d) * u) * (s.z ? silu(s.z(b, t, d)) : S(1));
            }
            for (int64_t n = 0; n < N; ++n) hT(b, d, n) = h[n];
        }
    }
}

// `memory`: room for scan_backward_values(L, N) values: the states of one channel, the gradient of the
// current one, A.
inline int64_t scan_backward_values(int64_t L, int64_t N) {
    return (L + 3) * N;
}

template <class S, class Build = AsBuilt>
void scan_backward(const Scan<S>& s, const ScanGradients<S>& grads, S* memory) {
    using std::exp;
    const int64_t n_batch = s.u.shape[0], L = s.u.shape[1], n_channels = s.u.shape[2], N = s.A_log.shape[1];
    S* const A = memory;
    S* const g = A + N;
    S* const states = g + N;
    for (int64_t b = 0; b < n_batch; ++b) {
        for (int64_t t = 0; t < L; ++t)
            for (int64_t n = 0; n < N; ++n) grads.d_B(b, t, n) = grads.d_C(b, t, n) = S(0);
        for (int64_t d = 0; d < n_channels; ++d) {
            for (int64_t n = 0; n < N; ++n) {
                A[n] = -exp(s.A_log(d, n));
                states[n] = s.h0 ? s.h0(b, d, n) : S(0);
                g[n] = grads.d_h ? grads.d_h(b, d, n) : S(0);
            }
            for (int64_t t = 0; t < L; ++t) {
                const S dt = softplus(S(s.dt_raw(b, t, d) + s.dt_bias(d)));
                for (int64_t n = 0; n < N; ++n) {
                    const ScanStep<S> step(s.discretization, dt, A[n]);
                    const S before = s.starts_at(b, t) ? S(0) : states[t * N + n];
                    states[(t + 1) * N + n] = step.a * before + step.weight * s.B(b, t, n) * s.u(b, t, d);
                }
            }
            for (int64_t t = L - 1; t >= 0; --t) {
                const S raw = s.dt_raw(b, t, d) + s.dt_bias(d), dt = softplus(raw), u = s.u(b, t, d);
                S d_out = grads.d_y(b, t, d);  // gradient of the output before the gate
                if (s.z) {
                    S out = s.D(d) * u;
                    for (int64_t n = 0; n < N; ++n) out += s.C(b, t, n) * states[(t + 1) * N + n];
                    grads.d_z(b, t, d) = d_out * out * d_silu(s.z(b, t, d));
                    d_out *= silu(s.z(b, t, d));
                }
                S d_u = s.D(d) * d_out, d_dt(0);
                grads.d_D(d) += d_out * u;
                for (int64_t n = 0; n < N; ++n) {
                    const ScanStep<S> step(s.discretization, dt, A[n]);
                    const S B = s.B(b, t, n);
                    grads.d_C(b, t, n) += d_out * states[(t + 1) * N + n];
                    g[n] += d_out * s.C(b, t, n);
                    grads.d_B(b, t, n) += g[n] * step.weight * u;
                    d_u += g[n] * step.weight * B;
                    const S d_weight = g[n] * B * u;
                    d_dt += d_weight * step.d_weight_d_dt;
                    S d_A(0);
                    if (s.discretization == Discretization::zoh) d_A = d_weight * step.d_weight_d_A;
                    if (s.starts_at(b, t)) {
                        g[n] = S(0);
                    } else {
                        const S d_exponent = g[n] * step.a * states[t * N + n];
                        d_dt += d_exponent * A[n];
                        d_A += d_exponent * dt;
                        g[n] *= step.a;
                    }
                    grads.d_A_log(d, n) += d_A * A[n];
                }
                const S d_raw = d_dt * sigmoid(raw);
                grads.d_u(b, t, d) = d_u;
                grads.d_dt_raw(b, t, d) = d_raw;
                grads.d_dt_bias(d) += d_raw;
            }
            if (grads.d_h)
                for (int64_t n = 0; n < N; ++n) grads.d_h(b, d, n) = g[n];
        }
    }
}

}  // namespace adder::ref
