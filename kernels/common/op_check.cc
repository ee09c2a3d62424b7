#include "kernels/common/op_check.h"

#include <algorithm>
#include <cmath>

namespace adder {

namespace {

using Values = std::map<std::string, std::vector<double>>;

bool constant(const std::vector<double>& v) {
    return v.size() > 1 && std::all_of(v.begin(), v.end(), [&](double x) { return x == v[0]; });
}

// One output or gradient that is compared.
struct Compared {
    std::string name;
    bool zero = false;
};

std::vector<Compared> compared_outputs(const OpCase& c) {
    std::vector<Compared> all;
    for (const ArraySpec& s : c.outputs)
        if (s.kind != Kind::saved) all.push_back({s.name, s.zero});
    return all;
}

std::vector<Compared> compared_gradients(const OpCase& c) {
    std::vector<Compared> all;
    if (!c.backward) return all;
    for (const GradientArray& g : gradient_arrays(c)) all.push_back({g.name, g.zero && !g.parameter});
    return all;
}

// What the reference computes in S. `saved`: the storage type of what it keeps for backward, where it keeps what the op
// keeps; f32 = unrounded.
template <class S>
Values reference(const OpCase& c, const Bag<double>& inputs, const std::function<void(Bag<S>&)>& forward,
                 const std::function<void(Bag<S>&)>& backward, DType saved = DType::f32) {
    Bag<S> bag = inputs.as<S>();
    add_outputs(c, bag);
    forward(bag);
    for (const ArraySpec& s : c.outputs)
        if (s.kind == Kind::saved && s.dtype_in(saved) == DType::bf16 && bag.has(s.name))
            for (S& x : bag.at(s.name)) x = static_cast<S>(rounded_to(DType::bf16, static_cast<double>(x)));
    Values v;
    for (const Compared& o : compared_outputs(c))
        v[o.name].assign(bag.at(o.name).begin(), bag.at(o.name).end());
    if (!c.backward) return v;
    add_gradients(c, bag);
    backward(bag);
    for (const Compared& g : compared_gradients(c))
        v[g.name].assign(bag.at(g.name).begin(), bag.at(g.name).end());
    return v;
}

// Results of the reference in float, as an op may round them.
Values rounded(Values values, DType storage) {
    if (storage == DType::bf16)
        for (auto& [name, v] : values)
            for (double& x : v) x = rounded_to(DType::bf16, x);
    return values;
}

// One comparison under the calibrated tolerance.
void compare(const std::string& at, const Compared& what, const Values& got, const Values& in_float,
             const Values& expected, const Tolerance& tolerance, CheckReport& report) {
    const std::vector<double>& x = got.at(what.name);
    const std::vector<double>& want = expected.at(what.name);
    if (!what.zero) return judge(at, what.name, x, in_float.at(what.name), want, tolerance, report);
    ++report.comparisons;
    const bool zero = std::all_of(x.begin(), x.end(), [](double v) { return v == 0; });
    if (!zero || rms(want) != 0)
        report.failures.push_back(fmt::format("{}: {} should be all zero", at, what.name));
}

Values run_op(const OpCase& c, Instance& run, ThreadPool& pool) {
    Values v;
    run.forward(pool);
    for (const Compared& o : compared_outputs(c)) v[o.name] = run.values(o.name);
    if (!c.backward) return v;
    run.backward(pool);
    for (const Compared& g : compared_gradients(c)) v[g.name] = run.values(g.name);
    return v;
}

// Everything a call may not write: inputs, cotangents, and in backward the outputs of forward.
std::vector<std::string> read_only(const OpCase& c, bool in_backward) {
    std::vector<std::string> names;
    for (const ArraySpec& s : c.inputs) names.push_back(s.name);
    for (const ArraySpec& s : c.outputs) {
        if (in_backward) names.push_back(s.name);
        // The gradient of a state is handed on in place, even where no initial state was given.
        const bool handed_on = in_backward && !s.continues.empty();
        if (s.differentiable && c.backward && !handed_on) names.push_back("d_" + s.name);
    }
    if (in_backward)
        for (const GradientArray& g : gradient_arrays(c))
            names.erase(std::remove(names.begin(), names.end(), g.name), names.end());
    return names;
}

using Bytes = std::map<std::string, std::vector<unsigned char>>;

Bytes bytes_of_all(Instance& run, const std::vector<std::string>& names) {
    Bytes b;
    for (const std::string& n : names) b[n] = run.bytes(n);
    return b;
}

Bytes result_bytes(const OpCase& c, Instance& run, ThreadPool& pool) {
    Bytes b;
    run.reset();
    run.forward(pool);
    for (const Compared& o : compared_outputs(c)) b[o.name] = run.bytes(o.name);
    if (!c.backward) return b;
    run.backward(pool);
    for (const Compared& g : compared_gradients(c)) b[g.name] = run.bytes(g.name);
    return b;
}

std::string first_difference(const Bytes& a, const Bytes& b) {
    for (const auto& [name, bytes] : a)
        if (b.at(name) != bytes) return name;
    return "";
}

void check_side_effects(const std::string& at, const OpCase& c, Instance& run, ThreadPool& pool,
                        CheckReport& report) {
    run.reset();
    for (const bool in_backward : {false, true}) {
        if (in_backward && !c.backward) break;
        const std::vector<std::string> names = read_only(c, in_backward);
        const Bytes before = bytes_of_all(run, names);
        in_backward ? run.backward(pool) : run.forward(pool);
        const std::string changed = first_difference(before, bytes_of_all(run, names));
        ++report.comparisons;
        if (!changed.empty())
            report.failures.push_back(fmt::format("{}: {} is only read but was changed", at, changed));
    }
    if (const std::string name = run.damaged(); !name.empty())
        report.failures.push_back(fmt::format("{}: bytes around {} were written", at, name));
}

CheckReport check_layouts(const OpCase& c, std::initializer_list<Layout> layouts, const RunOn& on) {
    CheckReport report;
    const Bag<double> inputs = make_inputs(c, on.storage);
    const Values exact = reference<double>(c, inputs, c.ref_forward.f64, c.ref_backward.f64);
    // A case without storage-typed arrays is an f32 case.
    const DType precision = has_storage(c) ? on.storage : DType::f32;
    const Values in_float =
        rounded(reference<float>(c, inputs, c.ref_forward.f32, c.ref_backward.f32, precision), precision);
    const Tolerance tolerance = tolerance_of(precision);
    ThreadPool pool(on.threads);
    for (const Layout layout : layouts) {
        const char* names[] = {"contiguous", "strided", "huge strides"};
        const std::string at = c.title() + ", " + names[static_cast<size_t>(layout)];
        Instance run(c, inputs, on, layout);
        const Values got = run_op(c, run, pool);
        for (const Compared& o : compared_outputs(c)) compare(at, o, got, in_float, exact, tolerance, report);
        for (const Compared& g : compared_gradients(c)) compare(at, g, got, in_float, exact, tolerance, report);
        if (!on.repeat) {
            if (const std::string name = run.damaged(); !name.empty())
                report.failures.push_back(fmt::format("{}: bytes around {} were written", at, name));
            continue;
        }
        check_side_effects(at, c, run, pool, report);
        const Bytes once = result_bytes(c, run, pool);
        ++report.comparisons;
        if (const std::string name = first_difference(once, result_bytes(c, run, pool)); !name.empty())
            report.failures.push_back(fmt::format("{}: {} differs between two runs", at, name));
    }
    return report;
}

}  // namespace

double rms(const std::vector<double>& v) {
    double sum = 0;
    for (double x : v) sum += x * x;
    return v.empty() ? 0 : std::sqrt(sum / static_cast<double>(v.size()));
}

void CheckReport::note(double ratio, const std::string& at) {
    // A NaN is worse than any number.
    if (ratio <= worst_ratio || std::isnan(worst_ratio)) return;
    worst_ratio = ratio;
    worst_at = at;
}

void CheckReport::add(const CheckReport& other) {
    comparisons += other.comparisons;
    note(other.worst_ratio, other.worst_at);
    failures.insert(failures.end(), other.failures.begin(), other.failures.end());
}

Errors errors_of(const std::vector<double>& got, const std::vector<double>& expected, double outlier) {
    CHECK(got.size() == expected.size());
    const double scale = rms(expected);
    double sum = 0, peak = 0;
    for (size_t i = 0; i < got.size(); ++i) {
        const double e = std::abs(got[i] - expected[i]);
        sum += e * e;
        const double relative = e / std::max(scale, std::abs(expected[i]) / outlier);
        if (e != 0 && !(relative <= peak)) peak = relative;
    }
    if (sum == 0) return {};
    return {std::sqrt(sum / static_cast<double>(got.size())) / scale, peak};
}

void judge(const std::string& at, const std::string& name, const std::vector<double>& got,
           const std::vector<double>& in_float, const std::vector<double>& expected, const Tolerance& tolerance,
           CheckReport& report) {
    ++report.comparisons;
    if (constant(expected) || !(rms(expected) > 0)) {
        report.failures.push_back(fmt::format("{}: {} is expected constant, which shows nothing", at, name));
        return;
    }
    const Errors e = errors_of(got, expected, tolerance.outlier);
    const Errors r = errors_of(in_float, expected, tolerance.outlier);
    const double rms_limit = std::min(std::max(2 * r.rms, tolerance.rms), tolerance.cap);
    const double peak_limit = std::min(std::max(4 * r.peak, tolerance.peak), tolerance.cap);
    const double ratio = std::max(e.rms / rms_limit, e.peak / peak_limit);
    report.note(ratio, at + " " + name);
    if (!(ratio <= 1))
        report.failures.push_back(
            fmt::format("{}: {} rms error {:.2e} (allowed {:.2e}), largest {:.2e} (allowed {:.2e})", at, name, e.rms,
                        rms_limit, e.peak, peak_limit));
}

CheckReport check_values(const OpCase& c, const RunOn& on) {
    return check_layouts(c, {Layout::contiguous, Layout::strided}, on);
}

CheckReport check_huge_strides(const OpCase& c) {
    return check_layouts(c, {Layout::huge}, {});
}

CheckReport check_f64(const OpCase& c) {
    CheckReport report;
    const Bag<double> inputs = make_inputs(c);
    const Values exact = reference<double>(c, inputs, c.ref_forward.f64, c.ref_backward.f64);
    ThreadPool pool(1);
    Instance run(c, inputs, DType::f64, Layout::strided);
    for (const auto& [name, got] : run_op(c, run, pool)) {
        const Errors e = errors_of(got, exact.at(name));
        ++report.comparisons;
        if (!(e.peak <= 1e-12))
            report.failures.push_back(
                fmt::format("{}: {} in f64 is {:.1e} off its reference", c.title(), name, e.peak));
    }
    return report;
}

CheckReport check_threads(const OpCase& c) {
    CheckReport report;
    const Bag<double> inputs = make_inputs(c);
    Instance run(c, inputs, DType::f32);
    ThreadPool one(1);
    const Bytes expected = result_bytes(c, run, one);
    for (int n : {2, 3, 7}) {
        ThreadPool pool(n);
        ++report.comparisons;
        if (const std::string name = first_difference(expected, result_bytes(c, run, pool)); !name.empty())
            report.failures.push_back(
                fmt::format("{}: {} has other bits with {} threads", c.title(), name, n));
    }
    return report;
}

}  // namespace adder
