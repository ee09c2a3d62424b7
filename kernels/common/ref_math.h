// Scalar functions of the references, for S = float, double and std::complex<double>.
//
// The complex ones are analytic continuations, so that a reference can be differentiated by the complex step
// f'(x) = Im f(x + ih) / h (Squire & Trapp 1998, SIAM Review 40(1)); branches test the real part.
#pragma once
#include <cmath>
#include <complex>

namespace adder::ref {

inline float real_part(float x) {
    return x;
}
inline double real_part(double x) {
    return x;
}
inline double real_part(const std::complex<double>& x) {
    return x.real();
}

inline float log1p(float x) {
    return std::log1p(x);
}
inline double log1p(double x) {
    return std::log1p(x);
}
inline std::complex<double> log1p(const std::complex<double>& x) {
    const double a = x.real(), b = x.imag();
    return {0.5 * std::log1p(a * (2 + a) + b * b), std::atan2(b, 1 + a)};
}

inline float expm1(float x) {
    return std::expm1(x);
}
inline double expm1(double x) {
    return std::expm1(x);
}
inline std::complex<double> expm1(const std::complex<double>& x) {
    const double a = x.real(), b = x.imag(), half = std::sin(0.5 * b);
    return {std::expm1(a) * std::cos(b) - 2 * half * half, std::exp(a) * std::sin(b)};
}

// 1 / (1 + exp(-x)), without overflow; also the derivative of softplus.
template <class S>
S sigmoid(const S& x) {
    using std::exp;
    if (real_part(x) >= 0) return S(1) / (S(1) + exp(-x));
    const S e = exp(x);
    return e / (S(1) + e);
}

// log(1 + exp(x)), without overflow.
template <class S>
S softplus(const S& x) {
    using std::exp;
    return real_part(x) > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

template <class S>
S silu(const S& x) {
    return x * sigmoid(x);
}

template <class S>
S d_silu(const S& x) {
    const S s = sigmoid(x);
    return s * (S(1) + x * (S(1) - s));
}

// (exp(x) - 1) / x, by its series below |x| = 1e-3: the factor of the exact zero-order hold, B-bar = dt
// zoh(dt A) B.
template <class S>
S zoh_factor(const S& x) {
    if (std::abs(real_part(x)) < 1e-3)
        return S(1) + x * (S(1.0 / 2) + x * (S(1.0 / 6) + x * (S(1.0 / 24) + x * S(1.0 / 120))));
    return expm1(x) / x;
}

// Derivative of zoh_factor: (exp(x) - zoh_factor(x)) / x. The quotient cancels for small x, so the series
// sum of n x^(n-1) / (n+1)! takes over below 0.5, far earlier than zoh_factor's; 17 terms leave < 1e-18.
template <class S>
S d_zoh_factor(const S& x) {
    using std::exp;
    if (std::abs(real_part(x)) >= 0.5) return (exp(x) - expm1(x) / x) / x;
    S term = S(0.5), sum = S(0);
    for (int n = 1; n <= 17; ++n) {
        sum += S(n) * term;
        term *= x / S(n + 2);
    }
    return sum;
}

}  // namespace adder::ref
