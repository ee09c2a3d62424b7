// Checks of what an op does with numbers and shapes that are wrong.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/ops/more_checks.h"

namespace adder {

namespace {

constexpr int64_t kAnybody = -1;  // a parameter belongs to every member
constexpr int64_t kNobody = -2;   // a state that a start has cut

bool can_hold_nan(const ArraySpec& s) {
    return (s.dtype == DType::none || s.dtype == DType::f32) && !s.nan_is_error;
}

// Which packed member an element belongs to.
class Members {
  public:
    Members(const OpCase& c, const Bag<double>& numbers) : L_(c.L), id_(static_cast<size_t>(c.B * c.L)) {
        std::vector<double> flags(id_.size());
        for (const ArraySpec& s : c.inputs)
            if (s.fill == Fill::starts) flags = values_of(*numbers.raws().at(s.name));
        for (size_t i = 0; i < id_.size(); ++i) {
            const bool begins_row = i % static_cast<size_t>(L_) == 0;
            id_[i] = begins_row || flags[i] != 0 ? static_cast<int64_t>(i) : id_[i - 1];
            if (begins_row) cut_at_zero_.push_back(flags[i] != 0);
        }
    }

    // `final_state`: a state after the last step (or its gradient) rather than before the first.
    int64_t owner(const ArraySpec& s, size_t element, bool final_state) const {
        if (s.kind == Kind::parameter) return kAnybody;
        const int64_t row = s.shape.numel() / s.shape[0], b = static_cast<int64_t>(element) / row;
        if (s.kind == Kind::state) {
            if (final_state) return id_[static_cast<size_t>((b + 1) * L_ - 1)];
            return cut_at_zero_[static_cast<size_t>(b)] ? kNobody : b * L_;
        }
        if (row % L_ != 0) return kAnybody;  // steps of its own, as those of a tile or of groups
        return id_[static_cast<size_t>(b * L_ + static_cast<int64_t>(element) % row / (row / L_))];
    }

  private:
    int64_t L_;
    std::vector<int64_t> id_;
    std::vector<bool> cut_at_zero_;
};

// An array that is looked at after a run.
struct Seen {
    std::string name;
    const ArraySpec* spec;
    bool final_state, in_backward;
};

std::vector<Seen> results_of(const OpCase& c) {
    std::vector<Seen> all;
    for (const ArraySpec& s : c.outputs)
        if (s.kind != Kind::saved) all.push_back({s.name, &s, true, false});
    if (!c.backward) return all;
    for (const GradientArray& g : gradient_arrays(c))
        for (const ArraySpec& s : c.inputs)
            if (s.differentiable && s.gradient_name() == g.name) {
                all.push_back({g.name, &s, false, true});
                break;
            }
    return all;
}

// Runs op and reference on numbers with one NaN and compares where NaNs come out.
void expect_same_nans(const OpCase& c, const Bag<double>& numbers, const std::string& poisoned, int64_t owner,
                      const Members& members, const RunOn& on, CheckReport& report) {
    const std::vector<Seen> results = results_of(c);
    Bag<double> bag = numbers.as<double>();
    add_outputs(c, bag);
    c.ref_forward.f64(bag);
    std::map<std::string, std::vector<double>> want, got;
    for (const Seen& r : results)
        if (!r.in_backward) want[r.name] = bag.at(r.name);
    Instance run(c, numbers, on);
    ThreadPool pool(on.threads);
    run.forward(pool);
    for (const Seen& r : results)
        if (!r.in_backward) got[r.name] = run.values(r.name);
    if (c.backward) {
        add_gradients(c, bag);
        c.ref_backward.f64(bag);
        run.backward(pool);
        for (const Seen& r : results)
            if (r.in_backward) want[r.name] = bag.at(r.name), got[r.name] = run.values(r.name);
    }
    for (const Seen& r : results) {
        ++report.comparisons;
        const std::vector<double>&x = got.at(r.name), &y = want.at(r.name);
        const bool shown = std::any_of(x.begin(), x.end(), [](double v) { return std::isnan(v); });
        for (size_t i = 0; i < x.size(); ++i) {
            const bool nan = std::isnan(x[i]), expected = std::isnan(y[i]);
            if (nan == expected) continue;
            const int64_t to = members.owner(*r.spec, i, r.final_state);
            const bool crossed = nan && owner != kAnybody && to != kAnybody && owner != to;
            if (nan && !crossed) continue;  // it may spread within its own member: sums are taken in blocks
            // The first step of a member does not depend on how a state decays, but 0 times NaN in the reference says so.
            if (!nan && owner == kAnybody && shown) continue;
            report.failures.push_back(fmt::format("{}: a NaN in {} {} {}[{}]", c.title(), poisoned,
                                                  crossed ? "reaches" : "is hidden from", r.name, i));
            break;
        }
    }
}

int count_of(const std::string& text, char wanted) {
    return static_cast<int>(std::count(text.begin(), text.end(), wanted));
}

// The message of the Error that `f` throws while planning, or "" when it throws none.
std::string error_of(const std::function<void(Ctx&, TensorBag&)>& f, TensorBag bag, Device device) {
    ThreadPool pool(1);
    Arena plan(device, "a plan");
    Ctx ctx;
    ctx.device = device;
    ctx.pool = &pool;
    ctx.scratch = &plan;
    ctx.dry_run = true;
    try {
        f(ctx, bag);
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}

void expect_errors(const OpCase& c, const std::function<void(Ctx&, TensorBag&)>& f, const TensorBag& bag,
                   const std::string& name, int open_dim, bool sets_sizes, CheckReport& report) {
    const TensorRef t = bag[name];
    for (int d = 0; d < t.rank(); ++d) {
        if (d == open_dim) continue;
        TensorBag wrong = bag;
        Shape shape = t.shape;
        ++shape.dim[static_cast<size_t>(d)];
        wrong.tensors[name] = TensorRef(nullptr, t.dtype, shape, t.device);
        const std::string text = error_of(f, wrong, t.device);
        ++report.comparisons;
        const bool both = text.rfind("[", 0) == 0 && text.find("expected") != std::string::npos &&
                          text.find("got") != std::string::npos && count_of(text, '(') >= 2;
        const bool named = sets_sizes || text.find(to_string(shape)) != std::string::npos;
        if (!both || !named)
            report.failures.push_back(fmt::format("{}: {} of shape {} instead of {}: {}", c.title(), name,
                                                  to_string(shape), to_string(t.shape),
                                                  text.empty() ? "no error" : "unclear: " + text));
    }
}

}  // namespace

bool can_hold_nan(const OpCase& c) {
    return std::any_of(c.inputs.begin(), c.inputs.end(), [](const ArraySpec& s) { return can_hold_nan(s); });
}

CheckReport check_nan(const OpCase& c, const RunOn& on) {
    CheckReport report;
    const Bag<double> clean = make_inputs(c, on.storage);
    const Members members(c, clean);
    auto poison = [&](const std::string& name, const ArraySpec& s, bool final_state) {
        Bag<double> numbers = clean.as<double>();
        std::vector<double> x = numbers_in(numbers, name);
        const size_t i = x.size() / 2;
        x[i] = std::numeric_limits<double>::quiet_NaN();
        final_state ? void(numbers.at(name) = x) : put_numbers(numbers, s, x);
        expect_same_nans(c, numbers, fmt::format("{}[{}]", name, i), members.owner(s, i, final_state),
                         members, on, report);
    };
    for (const ArraySpec& s : c.inputs)
        if (can_hold_nan(s)) poison(s.name, s, false);
    if (!c.backward) return report;
    for (const ArraySpec& s : c.outputs)
        if (s.differentiable) poison("d_" + s.name, s, true);
    return report;
}

CheckReport check_errors(const OpCase& c, const RunOn& on) {
    CheckReport report;
    const TensorBag bag = planned_bag(c, on.storage, on.device);
    for (const ArraySpec& s : c.inputs)
        expect_errors(c, c.forward, bag, s.name, s.open_dim, &s == &c.inputs[0], report);
    for (const ArraySpec& s : c.outputs) expect_errors(c, c.forward, bag, s.name, s.open_dim, false, report);
    if (c.backward)
        for (const GradientArray& g : gradient_arrays(c))
            expect_errors(c, c.backward, bag, g.name, g.open_dim, false, report);
    const bool cpu = on.device == Device::cpu;
    const DType lacks = cpu ? DType::bf16 : DType::f64;
    TensorBag other = bag;
    bool changed = false;
    for (const auto* specs : {&c.inputs, &c.outputs})
        for (const ArraySpec& s : *specs) {
            if (s.dtype != DType::none) continue;
            other.tensors.at(s.name).dtype = lacks;
            changed = true;
        }
    if (!changed) return report;
    ++report.comparisons;
    const std::string text = error_of(c.forward, other, on.device);
    if (text.find(cpu ? "--device cuda" : "f64") == std::string::npos)
        report.failures.push_back(fmt::format("{}: {} on {}: {}", c.title(), name_of(lacks), name_of(on.device),
                                              text.empty() ? "no error" : "unclear: " + text));
    return report;
}

}  // namespace adder
