// Checks of ops with time: cutting, packing and stepping change nothing.
#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/common/op_check.h"

namespace adder {

namespace {

using Values = std::map<std::string, std::vector<double>>;

double allowed(DType real) {
    return real == DType::f64 ? 1e-12 : real == DType::f32 ? 1e-5 : 2e-2;
}

// What a check goes through.
std::vector<RunOn> runs_of(const RunOn& on) {
    if (on.device == Device::cuda) return {on};
    RunOn f64 = on, f32 = on;
    f64.storage = DType::f64;
    f32.storage = DType::f32;
    return {f64, f32};
}

void expect_equal(const std::string& at, const std::vector<double>& got, const std::vector<double>& want,
                  DType real, CheckReport& report) {
    const double e = errors_of(got, want).rms, ratio = e / allowed(real);
    ++report.comparisons;
    report.note(ratio, at);
    if (!(ratio <= 1))
        report.failures.push_back(fmt::format("{} ({}): relative rms difference {:.2e}, allowed {:.0e}", at,
                                              name_of(real), e, allowed(real)));
}

const ArraySpec* find(const std::vector<ArraySpec>& specs, const std::string& name) {
    const auto it =
        std::find_if(specs.begin(), specs.end(), [&](const ArraySpec& s) { return s.name == name; });
    return it == specs.end() ? nullptr : &*it;
}

// A case with state in and out, as one call, with its numbers: a missing initial state becomes zeros, a
// missing gradient of the final state too.
struct Whole {
    OpCase c;
    Bag<double> numbers;
};

Whole whole_of(const OpCase& given, DType storage) {
    Whole w{given.part(given.B, given.L, true), make_inputs(given, storage)};
    auto add = [&](const std::string& name, const ArraySpec& s) {
        if (!w.numbers.has(name))
            w.numbers.put(name, s.shape, std::vector<double>(static_cast<size_t>(s.shape.numel())));
    };
    for (const ArraySpec& s : w.c.inputs) add(s.name, s);
    if (!w.c.backward) return w;
    for (const ArraySpec& s : w.c.outputs)
        if (s.differentiable) add("d_" + s.name, s);
    for (const ArraySpec& s : w.c.inputs)
        if (s.kind == Kind::parameter && s.differentiable) add(s.gradient_name(), s);
    return w;
}

// Puts rows of (nb, nt, ...) `part` into (B, L, ...) `whole` at (b0, t0).
void place(const ArraySpec& s, const OpCase& part, int64_t b0, int64_t t0, const std::vector<double>& from,
           std::vector<double>& to) {
    Tensor whole(DType::f64, s.shape);
    set_values(whole, to);
    TensorRef window = whole.ref().slice(0, b0, part.B);
    if (s.kind == Kind::activation) window = window.slice(1, t0, part.L);
    set_values(window, from);
    to = values_of(whole);
}

// Forward and backward over [0, L) as calls of the given lengths; the state and its gradient go from call to
// call.
Values in_parts(const Whole& w, const std::vector<int64_t>& lengths, const RunOn& on, ThreadPool& pool) {
    const OpCase& c = w.c;
    Values v;
    for (const ArraySpec& s : c.outputs)
        if (s.kind != Kind::saved) v[s.name].resize(static_cast<size_t>(s.shape.numel()));
    std::vector<Instance> runs;
    std::vector<OpCase> parts;
    std::vector<int64_t> begins;
    int64_t t0 = 0;
    for (const int64_t n : lengths) {
        parts.push_back(c.part(c.B, n, true));
        runs.emplace_back(parts.back(), slice_bag(c, parts.back(), w.numbers, 0, t0), on);
        for (const ArraySpec& s : c.outputs)
            if (!s.continues.empty() && t0 > 0) runs.back().set(s.continues, v[s.name]);
        runs.back().forward(pool);
        for (const ArraySpec& s : c.outputs)
            if (s.kind != Kind::saved) place(s, parts.back(), 0, t0, runs.back().values(s.name), v[s.name]);
        begins.push_back(t0);
        t0 += n;
    }
    CHECK(t0 == c.L);
    if (!c.backward) return v;
    for (const ArraySpec& s : c.inputs)
        if (s.differentiable) v[s.gradient_name()].resize(static_cast<size_t>(s.shape.numel()));
    for (size_t i = runs.size(); i-- > 0;) {
        const bool last = i + 1 == runs.size();
        for (const ArraySpec& s : c.outputs)
            if (const ArraySpec* state = s.continues.empty() ? nullptr : find(c.inputs, s.continues);
                state && !last)
                runs[i].set("d_" + s.name, v[state->gradient_name()]);
        for (const ArraySpec& s : c.inputs)
            if (s.differentiable && s.kind == Kind::parameter && !last)
                runs[i].set(s.gradient_name(), v[s.gradient_name()]);
        runs[i].backward(pool);
        for (const ArraySpec& s : c.inputs) {
            if (!s.differentiable) continue;
            const std::vector<double> got = runs[i].values(s.gradient_name());
            if (s.kind == Kind::activation)
                place(s, parts[i], 0, begins[i], got, v[s.gradient_name()]);
            else
                v[s.gradient_name()] = got;
        }
    }
    return v;
}

const ArraySpec* start_flags_of(const OpCase& c) {
    for (const ArraySpec& s : c.inputs)
        if (s.fill == Fill::starts) return &s;
    return nullptr;
}

}  // namespace

CheckReport check_cuts(const OpCase& c, const RunOn& given) {
    CheckReport report;
    std::set<int64_t> cuts;
    for (const int64_t t : {int64_t{1}, int64_t{2}, c.L / 3, c.L / 2, c.L / 2 + 1, c.L - 1})
        if (t > 0 && t < c.L) cuts.insert(t);
    ThreadPool pool(given.threads);
    for (const RunOn& on : runs_of(given)) {
        const Whole w = whole_of(c, on.storage);
        const Values once = in_parts(w, {c.L}, on, pool);
        for (const int64_t t : cuts)
            for (const auto& [name, got] : in_parts(w, {t, c.L - t}, on, pool))
                expect_equal(fmt::format("{}, cut at {}: {}", c.title(), t, name), got, once.at(name),
                             on.storage, report);
    }
    return report;
}

CheckReport check_packed(const OpCase& c, const RunOn& given) {
    CheckReport report;
    const ArraySpec* starts = start_flags_of(c);
    if (!starts) return report;
    ThreadPool pool(given.threads);
    for (const RunOn& on : runs_of(given)) {
        const Whole w = whole_of(c, on.storage);
        const std::vector<double> flags = values_of(*w.numbers.raws().at(starts->name));
        const Values packed = in_parts(w, {c.L}, on, pool);
        Values apart = packed;
        for (const ArraySpec& s : c.outputs)
            if (s.kind == Kind::activation) std::fill(apart[s.name].begin(), apart[s.name].end(), 0.0);
        for (int64_t b = 0; b < c.B; ++b) {
            for (int64_t t = 0, end; t < c.L; t = end) {
                for (end = t + 1; end < c.L && flags[static_cast<size_t>(b * c.L + end)] == 0;) ++end;
                const bool own_state = t == 0 && flags[static_cast<size_t>(b * c.L)] == 0;
                const OpCase part = c.part(1, end - t, own_state);
                Bag<double> numbers = slice_bag(w.c, part, w.numbers, b, t);
                Tensor none(DType::u8, {1, end - t});
                numbers.put_raw(starts->name, std::move(none));
                Instance run(part, numbers, on);
                run.forward(pool);
                for (const ArraySpec& s : w.c.outputs) {
                    if (s.kind == Kind::activation) place(s, part, b, t, run.values(s.name), apart[s.name]);
                    if (s.kind == Kind::state && end == c.L)
                        place(s, part, b, 0, run.values(s.name), apart[s.name]);
                }
            }
        }
        for (const ArraySpec& s : w.c.outputs)
            if (s.kind != Kind::saved)
                expect_equal(c.title() + ", members apart: " + s.name, apart[s.name], packed.at(s.name),
                             on.storage, report);
    }
    return report;
}

namespace {

// The steps of some rows of a case, one after the other in the same memory.
class Stepper {
  public:
    Stepper(const Whole& w, int64_t rows, const RunOn& on, ThreadPool& pool)
        : w_(w), part_(w.c.part(rows, 1, false)), pool_(pool),
          run_(part_, slice_bag(w.c, part_, w.numbers, 0, 0), on) {}

    const OpCase& part() const { return part_; }

    // Step t of the rows from b0 on: outputs by name, the state read from `before`.
    Values step(int64_t b0, int64_t t, const Values& before) {
        run_.reset(slice_bag(w_.c, part_, w_.numbers, b0, t));
        for (const auto& [name, values] : before) run_.set(name, values);
        run_.step(pool_);
        Values v;
        for (const ArraySpec& s : part_.outputs)
            if (s.kind != Kind::saved) v[s.name] = run_.values(s.name);
        return v;
    }

  private:
    const Whole& w_;
    const OpCase part_;
    ThreadPool& pool_;
    Instance run_;
};

// Row b of every array.
Values row_of(const Values& all, int64_t b, int64_t B) {
    Values mine;
    for (const auto& [name, values] : all) {
        const auto n = static_cast<int64_t>(values.size()) / B;
        mine[name].assign(values.begin() + b * n, values.begin() + (b + 1) * n);
    }
    return mine;
}

}  // namespace

CheckReport check_steps(const OpCase& c, const RunOn& given) {
    CheckReport report;
    ThreadPool pool(given.threads);
    for (const RunOn& on : runs_of(given)) {
        const Whole w = whole_of(c, on.storage);
        const Values once = in_parts(w, {c.L}, on, pool);
        Values stepped = once, state;
        for (const ArraySpec& s : c.outputs)
            if (!s.continues.empty()) state[s.name] = w.numbers.at(s.continues);
        Stepper all(w, c.B, on, pool), one(w, 1, on, pool);
        for (int64_t t = 0; t < c.L; ++t) {
            const Values got = all.step(0, t, state);
            for (int64_t b = 0; b < c.B && c.B > 1 && t < 3; ++b) {
                const Values same = row_of(got, b, c.B);
                for (const auto& [name, alone] : one.step(b, t, row_of(state, b, c.B))) {
                    ++report.comparisons;
                    if (alone != same.at(name))
                        report.failures.push_back(fmt::format(
                            "{}, step {}: row {} of {} depends on the other rows", c.title(), t, b, name));
                }
            }
            for (const ArraySpec& s : w.c.outputs) {
                if (s.kind == Kind::activation) place(s, all.part(), 0, t, got.at(s.name), stepped[s.name]);
                if (!s.continues.empty()) state[s.name] = got.at(s.name);
            }
        }
        for (const ArraySpec& s : w.c.outputs) {
            if (!s.continues.empty()) stepped[s.name] = state[s.name];
            if (s.kind != Kind::saved)
                expect_equal(c.title() + ", single steps: " + s.name, stepped[s.name], once.at(s.name),
                             on.storage, report);
        }
    }
    return report;
}

}  // namespace adder
