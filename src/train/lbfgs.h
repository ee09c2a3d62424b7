// Minimising a smooth convex function of many variables by L-BFGS: Nocedal and Wright, Numerical Optimization (2006),
// algorithm 7.5, two-loop recursion 7.4. Ours because liblbfgs, the packaged one, had its last release in 2010 and ends
// with an error where rounding lets no step decrease the function any more, which for us is the end.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace adder {

// The value at x; fills `gradient`, as long as x.
using ValueAndGradient = std::function<double(const std::vector<double>& x, std::vector<double>& gradient)>;

struct LbfgsOptions {
    int64_t history = 10;
    int64_t most_steps = 1000;
    // Stops when the squared norm of the gradient is at most this. With variables so scaled that the Hessian is about
    // 1, half of it is how far the value is above the minimum.
    double tolerance = 1e-14;
};

struct LbfgsResult {
    double value = 0;
    int64_t steps = 0, evaluations = 0;
    bool converged = false;  // to the tolerance or to rounding
};

// Minimises from `x`, and leaves the minimiser there. The function must be finite and convex; steps satisfy Armijo's
// condition, and the curvature condition where the function is strictly convex.
LbfgsResult minimize(const ValueAndGradient& f, std::vector<double>& x, const LbfgsOptions& options);

}  // namespace adder
