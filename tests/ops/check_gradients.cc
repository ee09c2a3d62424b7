#include <algorithm>
#include <cmath>
#include <complex>

#include "core/rng.h"
#include "tests/ops/more_checks.h"

namespace adder {

CheckReport check_gradients(const OpCase& c) {
    using C = std::complex<double>;
    constexpr double kStep = 1e-30, kAllowed = 1e-10;
    CheckReport report;
    Bag<double> inputs = make_inputs(c);
    int64_t count = 0;
    for (const ArraySpec& s : c.inputs) count += s.differentiable ? s.shape.numel() : 0;
    CHECK(count <= 2000 && "too many inputs for a gradient case");
    for (const GradientArray& g : gradient_arrays(c))
        if (g.parameter) std::fill(inputs.at(g.name).begin(), inputs.at(g.name).end(), 0.0);
    Bag<double> back = inputs.as<double>();
    add_outputs(c, back);
    c.ref_forward.f64(back);
    add_gradients(c, back);
    c.ref_backward.f64(back);

    // Derivative of sum over outputs of cotangent * output along `direction` in argument `name`.
    auto derivative = [&](const std::string& name, const std::vector<double>& direction) {
        Bag<C> bag = inputs.as<C>();
        std::vector<C>& x = bag.at(name);
        for (size_t i = 0; i < x.size(); ++i) x[i] += C(0, kStep * direction[i]);
        add_outputs(c, bag);
        c.ref_forward.complex(bag);
        double sum = 0;
        for (const ArraySpec& o : c.outputs) {
            if (!o.differentiable) continue;
            const std::vector<double>& w = inputs.at("d_" + o.name);
            for (size_t i = 0; i < w.size(); ++i) sum += w[i] * bag.at(o.name)[i].imag() / kStep;
        }
        return sum;
    };
    auto expect_close = [&](const std::string& what, double got, double want, double scale) {
        ++report.comparisons;
        const double error = std::abs(got - want) / std::max({std::abs(want), scale, 1e-300});
        const double ratio = error / kAllowed;
        report.note(ratio, c.title() + " " + what);
        if (!(error <= kAllowed))
            report.failures.push_back(
                fmt::format("{}: {} is {:.12g}, the complex step gives {:.12g}", c.title(), what, got, want));
    };
    const Philox random(2, Stream::test);
    for (const ArraySpec& s : c.inputs) {
        if (!s.differentiable) continue;
        const std::vector<double>& g = back.at(s.gradient_name());
        std::vector<double> v(g.size());
        double along = 0, scale = 0;
        for (size_t i = 0; i < g.size(); ++i) {
            v[i] = random.normal(i);
            along += g[i] * v[i];
            scale += g[i] * g[i] * v[i] * v[i];
        }
        if (!(scale > 0) && !s.zero)
            report.failures.push_back(
                fmt::format("{}: {} is all zero, which shows nothing", c.title(), s.gradient_name()));
        expect_close(s.gradient_name() + " along a direction", along, derivative(s.name, v),
                     std::sqrt(scale));
        for (uint64_t k = 0; k < 16; ++k) {
            const size_t i = g.size() <= 16 ? k : random.below(g.size(), k, 1);
            if (i >= g.size()) break;
            std::fill(v.begin(), v.end(), 0.0);
            v[i] = 1;
            expect_close(fmt::format("{}[{}]", s.gradient_name(), i), g[i], derivative(s.name, v), rms(g));
        }
    }
    return report;
}

}  // namespace adder
