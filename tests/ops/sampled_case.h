// Checks of cases that are too large for the host: some elements against the reference in double, and the whole against
// its two halves, whose results come from shorter calls.
#pragma once
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "kernels/common/op_check.h"
#include "kernels/common/op_fill.h"

namespace adder {

struct SampledCase {
    OpCase whole;  // B = 1
    OpCase part;   // the op on some elements of `whole` that no other has an influence on; empty = halves alone are compared
    // Which of a dimension of `whole` the part has, by the size of the dimension; the others it has whole.
    std::map<int64_t, std::vector<int64_t>> picks;
    std::vector<std::string> mixed;  // gradients that are sums over what the part lacks
    double peak = 0;  // a largest single error that is allowed, where that is more than the calibrated one
};

class SampledRun {
  public:
    SampledRun(const SampledCase& c, DType storage, Gpu& gpu)
        : c_(c), storage_(storage), gpu_(gpu), types_(array_types(c.whole, storage)), arrays_(c.whole, storage) {}

    void check(CheckReport& report) {
        arrays_.fill(gpu_);
        run(c_.whole.forward, arrays_.bag());
        if (c_.whole.backward) run(c_.whole.backward, arrays_.bag());
        if (c_.part.forward) check_part(report);
        if (c_.whole.sequence) check_halves(report);
    }

  private:
    using Values = std::map<std::string, std::vector<double>>;
    using Indices = std::vector<std::vector<int64_t>>;  // for every dimension

    void run(const std::function<void(Ctx&, TensorBag&)>& pass, TensorBag& bag) {
        ThreadPool pool(1);
        Arena plan(Device::cuda, "scratch"), scratch(Device::cuda, "scratch");
        Ctx ctx;
        ctx.device = Device::cuda;
        ctx.pool = &pool;
        ctx.scratch = &plan;
        ctx.dry_run = true;
        TensorBag planned = bag;
        for (auto& [name, t] : planned.tensors) t.data = nullptr;
        pass(ctx, planned);
        scratch.bind(plan.peak_bytes());
        ctx.scratch = &scratch;
        ctx.gpu = &gpu_;
        ctx.dry_run = false;
        pass(ctx, bag);
        gpu_.synchronize();
    }

    Indices indices_in_whole(const Shape& whole, const Shape& part) const {
        Indices all;
        for (int d = 0; d < whole.rank; ++d) {
            std::vector<int64_t> one(static_cast<size_t>(whole[d]));
            for (int64_t i = 0; i < whole[d]; ++i) one[static_cast<size_t>(i)] = i;
            if (whole[d] != part[d]) one = c_.picks.at(whole[d]);
            CHECK(std::ssize(one) == part[d]);
            all.push_back(std::move(one));
        }
        return all;
    }

    // Calls f(linear index in an array of this shape) for all combinations, in order.
    template <class F>
    static void for_indices(const Shape& shape, const Indices& at, F f) {
        int64_t rows = 1;
        for (size_t d = 0; d + 1 < at.size(); ++d) rows *= std::ssize(at[d]);
        for (int64_t row = 0; row < rows; ++row) {
            int64_t base = 0, step = shape[shape.rank - 1], rest = row;
            for (size_t d = at.size() - 1; d-- > 0;) {
                base += step * at[d][static_cast<size_t>(rest % std::ssize(at[d]))];
                rest /= std::ssize(at[d]);
                step *= shape[static_cast<int>(d)];
            }
            for (const int64_t i : at.back()) f(base + i);
        }
    }

    // Elements of a contiguous array of the GPU, in order of `at`.
    std::vector<double> gather(const TensorRef& t, const Indices& at) const {
        const int64_t item = size_of(t.dtype), width = t.size(t.rank() - 1);
        const std::vector<int64_t>& columns = at.back();
        Indices rows_at(at.begin(), at.end() - 1);
        std::vector<int64_t> rows = {0};
        if (t.rank() > 1) {
            rows.clear();
            Shape outer = t.shape;
            outer.dim[static_cast<size_t>(--outer.rank)] = 0;
            for_indices(outer, rows_at, [&](int64_t r) { rows.push_back(r); });
        }
        const auto n = static_cast<int64_t>(rows.size()), kept = static_cast<int64_t>(columns.size());
        const Tensor on_gpu(t.dtype, {n, kept}, Device::cuda, "a sample"), on_host(t.dtype, {n, kept});
        auto* to = static_cast<char*>(on_gpu.ref().data);
        const auto* from = static_cast<const char*>(t.data);
        // Runs of neighbouring rows and columns are copied at once.
        for (int64_t r = 0, r_end; r < n; r = r_end) {
            for (r_end = r + 1; r_end < n && rows[r_end] == rows[r_end - 1] + 1;) ++r_end;
            for (int64_t c = 0, c_end; c < kept; c = c_end) {
                for (c_end = c + 1; c_end < kept && columns[c_end] == columns[c_end - 1] + 1;) ++c_end;
                copy_rows_async(to + (r * kept + c) * item, kept * item, from + (rows[r] * width + columns[c]) * item,
                                width * item, (c_end - c) * item, r_end - r, gpu_.stream());
            }
        }
        gpu_.synchronize();
        copy(on_gpu, on_host);
        return values_of(on_host);
    }

    // Numbers of the part's arrays, as the GPU has made them for the whole.
    Bag<double> part_inputs() {
        Bag<double> bag;
        const TensorBag& whole = arrays_.bag();
        auto put = [&](const std::string& name, const Shape& shape, bool raw) {
            std::vector<double> v;
            v.reserve(static_cast<size_t>(shape.numel()));
            const FillRule* rule = arrays_.rule(name);
            const Shape& in = whole[name].shape;
            const DType dtype = types_.at(name);
            for_indices(in, indices_in_whole(in, shape), [&](int64_t i) {
                v.push_back(rule ? rounded_to(dtype, fill_value(*rule, static_cast<uint64_t>(i))) : 0);
            });
            if (!raw) return bag.put(name, shape, std::move(v));
            Tensor t(dtype, shape);
            set_values(t, v);
            bag.put_raw(name, std::move(t));
        };
        for (const ArraySpec& s : c_.part.inputs) put(s.name, s.shape, s.dtype != DType::none);
        if (!c_.part.backward) return bag;
        for (const ArraySpec& s : c_.part.outputs)
            if (s.differentiable) put("d_" + s.name, s.shape, false);
        for (const auto& [name, s] : own_gradients(c_.part))
            if (s->kind == Kind::parameter) put(name, s->shape, false);
        return bag;
    }

    // Names and shapes of what is compared.
    std::map<std::string, Shape> results(const OpCase& c) const {
        std::map<std::string, Shape> all;
        for (const ArraySpec& s : c.outputs)
            if (s.kind != Kind::saved) all[s.name] = s.shape;
        if (!c.backward) return all;
        for (const ArraySpec& s : c.inputs)
            if (s.differentiable) all[s.gradient_name()] = s.shape;
        return all;
    }

    template <class S>
    Values reference(const Bag<double>& inputs, const std::function<void(Bag<S>&)>& forward,
                     const std::function<void(Bag<S>&)>& backward) const {
        Bag<S> bag = inputs.as<S>();
        add_outputs(c_.part, bag);
        forward(bag);
        if (c_.part.backward) {
            add_gradients(c_.part, bag);
            backward(bag);
        }
        Values v;
        for (const auto& [name, shape] : results(c_.part)) v[name].assign(bag.at(name).begin(), bag.at(name).end());
        return v;
    }

    void check_part(CheckReport& report) {
        const Bag<double> inputs = part_inputs();
        const OpCase& p = c_.part;
        const Values exact = reference<double>(inputs, p.ref_forward.f64, p.ref_backward.f64);
        Values in_float = reference<float>(inputs, p.ref_forward.f32, p.ref_backward.f32);
        const DType precision = has_storage(p) ? storage_ : DType::f32;
        Tolerance tolerance = tolerance_of(precision);
        if (precision == DType::bf16) tolerance.peak = std::max(tolerance.peak, c_.peak);
        for (const auto& [name, shape] : results(p)) {
            if (std::find(c_.mixed.begin(), c_.mixed.end(), name) != c_.mixed.end()) continue;
            if (precision == DType::bf16)
                for (double& x : in_float[name]) x = rounded_to(DType::bf16, x);
            const TensorRef t = arrays_.bag()[name];
            judge(c_.whole.title(), name, gather(t, indices_in_whole(t.shape, shape)), in_float.at(name), exact.at(name),
                  tolerance, report);
        }
    }

    // Rows at the ends, around the middle and between, of arrays with time; all of the others.
    Values sampled() {
        const int64_t L = c_.whole.L, half = half_length();
        std::vector<int64_t> rows = {0, 1, half - 1, half, half + 1, L - 2, L - 1};
        for (int64_t i = 1; i < 58; ++i) rows.push_back(i * (L / 58));
        std::sort(rows.begin(), rows.end());
        rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
        Values v;
        for (const auto& [name, shape] : results(c_.whole)) {
            Indices at = indices_in_whole(shape, shape);
            if (shape.rank > 1 && shape[1] == L) at[1] = rows;
            v[name] = gather(arrays_.bag()[name], at);
        }
        return v;
    }

    int64_t half_length() const { return c_.whole.L / 2 / 64 * 64; }

    // The arguments of steps [t0, t0 + half.L), with memory of their own in `own` for what is not a part of the whole.
    TensorBag half_bag(const OpCase& half, int64_t t0, std::map<std::string, Tensor>& own) {
        TensorBag bag;
        bag.t0 = t0;
        auto cut = [&](const ArraySpec& s, const std::string& name) {
            const TensorRef t = arrays_.bag()[name];
            bag.tensors[name] = s.kind == Kind::activation ? t.slice(1, t0, half.L) : t;
        };
        for (const ArraySpec& s : half.inputs) {
            cut(s, s.name);
            if (s.differentiable && half.backward) cut(s, s.gradient_name());
        }
        for (const ArraySpec& s : half.outputs) {
            if (s.kind == Kind::saved) {
                own[s.name] = Tensor(s.dtype_in(storage_), s.shape, Device::cuda, "a half");
                bag.tensors[s.name] = own[s.name];
                continue;
            }
            cut(s, s.name);
            if (s.differentiable && half.backward) cut(s, "d_" + s.name);
        }
        return bag;
    }

    void check_halves(CheckReport& report) {
        const Values want = sampled();
        arrays_.fill(gpu_);
        const int64_t h = half_length();
        const OpCase first = c_.whole.part(1, h, true), second = c_.whole.part(1, c_.whole.L - h, true);
        std::map<std::string, Tensor> own_first, own_second, between;
        TensorBag a = half_bag(first, 0, own_first), b = half_bag(second, h, own_second);
        for (const ArraySpec& s : first.outputs)
            if (!s.continues.empty()) {
                between[s.name] = Tensor(s.dtype_in(storage_), s.shape, Device::cuda, "a state");
                a.tensors[s.name] = b.tensors[s.continues] = between[s.name];
            }
        run(first.forward, a);
        run(second.forward, b);
        if (c_.whole.backward) {
            run(second.backward, b);
            run(first.backward, a);
        }
        const double allowed = storage_ == DType::bf16 ? 2e-2 : 1e-5;
        for (const auto& [name, got] : sampled()) {
            const double ratio = errors_of(got, want.at(name)).rms / allowed;
            const std::string at = c_.whole.title() + ", halves: " + name;
            ++report.comparisons;
            report.note(ratio, at);
            if (!(ratio <= 1)) report.failures.push_back(fmt::format("{}: {:.2e} of what is allowed", at, ratio));
        }
    }

    const SampledCase& c_;
    DType storage_;
    Gpu& gpu_;
    std::map<std::string, DType> types_;
    DeviceArrays arrays_;
};

inline CheckReport check_sampled(const SampledCase& c, DType storage, Gpu& gpu) {
    CheckReport report;
    SampledRun(c, storage, gpu).check(report);
    return report;
}

}  // namespace adder
