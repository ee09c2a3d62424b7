// The two other forms of ssd.h as plain loops. That they equal the recurrence is the duality of the paper;
// both are references only (tests), templates over S as ssd_ref.h, and write no chunk_states.
#pragma once
#include <vector>

#include "kernels/ssd/ssd_ref.h"

namespace adder::ref {

// decay[(i + 1) * (L + 1) + (j + 1)]: what is left at step i of the state after step j <= i; step -1 is
// before the first. Products of single decays, zero across a start (arXiv 2405.21060, equation 7: the
// 1-semiseparable matrix).
template <class S>
std::vector<S> ssd_decay_matrix(const SsdProblem<S>& a, int64_t b, int64_t h) {
    const int64_t W = a.L + 1;
    std::vector<S> decay(static_cast<size_t>(W * W), S(0));
    for (int64_t j = -1; j < a.L; ++j) {
        S product = S(1);
        decay[static_cast<size_t>((j + 1) * W + j + 1)] = product;
        for (int64_t i = j + 1; i < a.L && !a.starts(b, i); ++i) {
            product *= ssd_coefficients(a, b, i, h).decay;
            decay[static_cast<size_t>((i + 1) * W + j + 1)] = product;
        }
    }
    return decay;
}

template <class S>
S ssd_dot(const S* u, const S* v, int64_t n) {
    S sum = S(0);
    for (int64_t i = 0; i < n; ++i) sum += u[i] * v[i];
    return sum;
}

// Attention without softmax: y = (decay o C B^T) x (arXiv 2405.21060, equation 16 and section 5); the initial
// state enters as a step before the first.
template <class S>
void ssd_forward_quadratic(const SsdProblem<S>& a, const SsdResult<S>& out) {
    const int64_t W = a.L + 1;
    for (int64_t b = 0; b < a.B; ++b)
        for (int64_t h = 0; h < a.H; ++h) {
            const std::vector<S> decay = ssd_decay_matrix(a, b, h);
            const auto left = [&](int64_t i, int64_t j) {
                return decay[static_cast<size_t>((i + 1) * W + j + 1)];
            };
            const int64_t g = a.group(h) * a.N;
            for (int64_t p = 0; p < a.P; ++p) {
                const auto input = [&](int64_t j) {
                    return ssd_coefficients(a, b, j, h).gain * a.x(b, j, h * a.P + p);
                };
                for (int64_t i = 0; out.y && i < a.L; ++i) {
                    S sum = a.D[h] * a.x(b, i, h * a.P + p);
                    for (int64_t j = 0; j <= i; ++j)
                        sum += left(i, j) * ssd_dot(&a.C(b, i, g), &a.Bm(b, j, g), a.N) * input(j);
                    if (a.h0) sum += left(i, -1) * ssd_dot(&a.C(b, i, g), &a.h0(b, h, p, 0), a.N);
                    out.y(b, i, h * a.P + p) = sum;
                }
                for (int64_t n = 0; n < a.N; ++n) {
                    S sum = a.h0 ? left(a.L - 1, -1) * a.h0(b, h, p, n) : S(0);
                    for (int64_t j = 0; j < a.L; ++j) sum += left(a.L - 1, j) * input(j) * a.Bm(b, j, g + n);
                    out.hT(b, h, p, n) = sum;
                }
            }
        }
}

// The chunk [t0, t1) of one head in the block decomposition: adds its diagonal block and the off-diagonal
// block of `state` (P,N, the state before t0) to y, and moves `state` to t1. log_sum[i] = sum of log decays
// over [t0, t0 + i]; a chunk that holds starts keeps only pairs of one member (the same count of starts).
template <class S>
void ssd_chunk(const SsdProblem<S>& a, int64_t b, int64_t h, int64_t t0, int64_t t1, S* state,
               const View<S, 3>& y) {
    using std::exp;
    const int64_t Q = t1 - t0, g = a.group(h) * a.N;
    std::vector<S> log_sum(static_cast<size_t>(Q)), gain(static_cast<size_t>(Q));
    std::vector<int64_t> member(static_cast<size_t>(Q));
    S sum = S(0);
    int64_t starts = 0;
    for (int64_t i = 0; i < Q; ++i) {
        const SsdStep<S> s = ssd_coefficients(a, b, t0 + i, h);
        const auto at = static_cast<size_t>(i);
        log_sum[at] = sum += s.log_decay;
        gain[at] = s.gain;
        member[at] = starts += a.starts(b, t0 + i);
    }
    const auto left = [&](int64_t i, int64_t j) {  // j = -1: the state before the chunk
        const auto to = static_cast<size_t>(i), from = static_cast<size_t>(j < 0 ? 0 : j);
        if (member[to] != (j < 0 ? 0 : member[from])) return S(0);
        return j < 0 ? exp(log_sum[to]) : exp(log_sum[to] - log_sum[from]);
    };
    for (int64_t p = 0; p < a.P; ++p) {
        const auto input = [&](int64_t j) {
            return gain[static_cast<size_t>(j)] * a.x(b, t0 + j, h * a.P + p);
        };
        S* s = state + p * a.N;
        for (int64_t i = 0; y && i < Q; ++i) {
            const S* C = &a.C(b, t0 + i, g);
            S v = a.D[h] * a.x(b, t0 + i, h * a.P + p) + left(i, -1) * ssd_dot(C, s, a.N);
            for (int64_t j = 0; j <= i; ++j)
                v += left(i, j) * ssd_dot(C, &a.Bm(b, t0 + j, g), a.N) * input(j);
            y(b, t0 + i, h * a.P + p) = v;
        }
        for (int64_t n = 0; n < a.N; ++n) {
            S v = left(Q - 1, -1) * s[n];
            for (int64_t j = 0; j < Q; ++j) v += left(Q - 1, j) * input(j) * a.Bm(b, t0 + j, g + n);
            s[n] = v;
        }
    }
}

// The block decomposition with chunks of `Q` steps (arXiv 2405.21060, section 6 and listing 1).
template <class S>
void ssd_forward_chunked(const SsdProblem<S>& a, const SsdResult<S>& out, int64_t Q) {
    std::vector<S> state(static_cast<size_t>(a.P * a.N));
    for (int64_t b = 0; b < a.B; ++b)
        for (int64_t h = 0; h < a.H; ++h) {
            for (int64_t i = 0; i < a.P * a.N; ++i)
                state[static_cast<size_t>(i)] = a.h0 ? a.h0(b, h, i / a.N, i % a.N) : S(0);
            for (int64_t t = 0; t < a.L; t += Q)
                ssd_chunk(a, b, h, t, t + Q < a.L ? t + Q : a.L, state.data(), out.y);
            for (int64_t i = 0; i < a.P * a.N; ++i)
                out.hT(b, h, i / a.N, i % a.N) = state[static_cast<size_t>(i)];
        }
}

}  // namespace adder::ref
