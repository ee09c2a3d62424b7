#include "train/lbfgs.h"

#include <cmath>
#include <deque>
#include <limits>

#include "core/error.h"

namespace adder {

namespace {

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

void add(Vector& to, double factor, const Vector& v) {
    for (size_t i = 0; i < to.size(); ++i) to[i] += factor * v[i];
}

// A step taken, and how the gradient changed over it.
struct Pair {
    Vector step, change;
    double product;
};

// Minus the approximate inverse Hessian times the gradient.
Vector direction(const std::deque<Pair>& history, const Vector& gradient) {
    Vector d = gradient;
    std::vector<double> alpha(history.size());
    for (size_t i = history.size(); i-- > 0;) {
        alpha[i] = dot(history[i].step, d) / history[i].product;
        add(d, -alpha[i], history[i].change);
    }
    if (!history.empty()) {
        const double scale = history.back().product / dot(history.back().change, history.back().change);
        for (double& v : d) v *= scale;
    }
    for (size_t i = 0; i < history.size(); ++i)
        add(d, alpha[i] - dot(history[i].change, d) / history[i].product, history[i].step);
    for (double& v : d) v = -v;
    return d;
}

}  // namespace

LbfgsResult minimize(const ValueAndGradient& f, std::vector<double>& x, const LbfgsOptions& options) {
    constexpr double kArmijo = 1e-4, kRounding = 4 * std::numeric_limits<double>::epsilon();
    constexpr int kMostHalvings = 30;
    Vector gradient(x.size()), next(x.size()), next_gradient(x.size());
    LbfgsResult result;
    result.value = f(x, gradient);
    result.evaluations = 1;
    std::deque<Pair> history;
    for (; result.steps < options.most_steps; ++result.steps) {
        const double norm2 = dot(gradient, gradient);
        if (!std::isfinite(result.value) || !std::isfinite(norm2)) fail("[lbfgs] the function is not finite");
        if (norm2 <= options.tolerance) {
            result.converged = true;
            return result;
        }
        const Vector d = direction(history, gradient);
        const double slope = dot(gradient, d);
        double length = 1, value = 0;
        int halvings = 0;
        for (; halvings < kMostHalvings; ++halvings, length /= 2) {
            next = x;
            add(next, length, d);
            value = f(next, next_gradient);
            ++result.evaluations;
            if (value <= result.value + kArmijo * length * slope + kRounding * std::abs(result.value)) break;
        }
        if (halvings == kMostHalvings) {  // within rounding of the minimum
            result.converged = true;
            return result;
        }
        Pair pair{next, next_gradient, 0};
        add(pair.step, -1, x);
        add(pair.change, -1, gradient);
        pair.product = dot(pair.step, pair.change);
        if (pair.product > kRounding * dot(pair.change, pair.change)) {
            history.push_back(std::move(pair));
            if (static_cast<int64_t>(history.size()) > options.history) history.pop_front();
        }
        x.swap(next);
        gradient.swap(next_gradient);
        result.value = value;
    }
    return result;
}

}  // namespace adder
