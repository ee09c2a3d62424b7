// A small recurrence that is right, or wrong in one known way:
//   h[t] = h[t-1] / 2 + x[t],   y[t] = w h[t]
#pragma once
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "kernels/common/op_memory.h"
#include "kernels/common/op_case.h"
#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"

namespace adder {

enum class Bug {
    none,
    small_error,
    wrong_backward,
    overwrites_parameter_gradient,
    changes_input,
    writes_past_row,
    reads_stale_output,
    hides_nan,
    spreads_nan,
    depends_on_threads,
    differs_between_runs,
    accepts_any_shape,
    drops_state,
    drops_state_gradient,
    ignores_starts,
    step_ignores_state,
    step_mixes_rows,
    f64_in_float,
    writes_past_scratch,
    constant_output,
    // On a GPU.
    writes_past_end,
    reads_stale_scratch,
    ignores_strides,
    rounds_coarsely,
    takes_unplanned_scratch
};

template <class S>
void decay_forward(View<const S, 3> x, View<const S, 1> w, View<const uint8_t, 2> start, View<const S, 2> h0,
                   View<S, 3> y, View<S, 2> hT, bool ignore_starts = false) {
    for (int64_t b = 0; b < x.shape[0]; ++b)
        for (int64_t d = 0; d < x.shape[2]; ++d) {
            S h = h0 ? h0(b, d) : S(0);
            for (int64_t t = 0; t < x.shape[1]; ++t) {
                if (start && start(b, t) && !ignore_starts) h = S(0);
                h = S(0.5) * h + x(b, t, d);
                y(b, t, d) = w(d) * h;
            }
            hT(b, d) = h;
        }
}

template <class S>
void decay_backward(View<const S, 3> x, View<const S, 1> w, View<const uint8_t, 2> start, View<const S, 2> h0,
                    View<const S, 3> d_y, View<S, 3> d_x, View<S, 1> d_w, View<S, 2> d_h) {
    std::vector<S> h(static_cast<size_t>(x.shape[1]));
    for (int64_t b = 0; b < x.shape[0]; ++b)
        for (int64_t d = 0; d < x.shape[2]; ++d) {
            S state = h0 ? h0(b, d) : S(0), g = d_h(b, d);
            for (int64_t t = 0; t < x.shape[1]; ++t) {
                if (start && start(b, t)) state = S(0);
                h[static_cast<size_t>(t)] = state = S(0.5) * state + x(b, t, d);
            }
            for (int64_t t = x.shape[1]; t-- > 0;) {
                d_w(d) += d_y(b, t, d) * h[static_cast<size_t>(t)];
                g += w(d) * d_y(b, t, d);
                d_x(b, t, d) = g;
                g = start && start(b, t) ? S(0) : S(0.5) * g;
            }
            d_h(b, d) = g;
        }
}

inline int calls = 0;  // what no op may have
constexpr int64_t kScratchBytes = 64;

template <class S>
void run_forward(Ctx& ctx, Bug bug, const TensorBag& a, void* scratch) {
    auto x = a["x"].as<S, 3>("x");
    auto y = a["y"].as<S, 3>("y");
    auto hT = a["hT"].as<S, 2>("hT");
    const auto h0 = bug == Bug::drops_state ? View<const S, 2>{} : a["h0"].as<const S, 2>("h0");
    const S before = y(0, 0, 0);
    decay_forward<S>(a["x"].as<const S, 3>("x"), a["w"].as<const S, 1>("w"),
                     a["start"].as<const uint8_t, 2>("start"), h0, y, hT, bug == Bug::ignores_starts);
    switch (bug) {
        case Bug::small_error:
            y(0, x.shape[1] - 1, 0) += S(1e-4);
            break;
        case Bug::changes_input:
            x(0, 0, 0) += S(1e-6);
            break;
        case Bug::writes_past_row:
            if (y.stride[1] > x.shape[2]) (&y(0, 0, 0))[x.shape[2]] = 1;
            break;
        case Bug::reads_stale_output:
            y(0, 0, 0) += S(0) * before;
            break;
        case Bug::hides_nan:
            for (int64_t i = 0; i < x.shape[0] * x.shape[1] * x.shape[2]; ++i)
                if (std::isnan(y.data[i])) y.data[i] = 0;
            break;
        case Bug::spreads_nan:
            y(0, 0, 0) += S(0) * x(x.shape[0] - 1, 0, 0);
            break;
        case Bug::depends_on_threads:
            y(0, 0, 0) *= S(1) + S(1e-7) * static_cast<S>(ctx.pool->size() % 2);
            break;
        case Bug::differs_between_runs:
            hT(0, 0) *= S(1) + S(1e-6) * static_cast<S>(++calls % 2);
            break;
        case Bug::f64_in_float:
            y(0, 0, 0) = static_cast<float>(y(0, 0, 0));
            break;
        case Bug::writes_past_scratch:
            if (ctx.device == Device::cpu) static_cast<char*>(scratch)[kScratchBytes] = 0;
            break;
        default:
            break;
    }
}

template <class S>
void run_backward(Bug bug, const TensorBag& a) {
    auto d_w = a["d_w"].as<S, 1>("d_w");
    auto d_h = a["d_hT"].as<S, 2>("d_hT");
    if (bug == Bug::overwrites_parameter_gradient)
        for (int64_t d = 0; d < d_w.shape[0]; ++d) d_w(d) = 0;
    if (bug == Bug::drops_state_gradient)
        for (int64_t b = 0; b < d_h.shape[0]; ++b)
            for (int64_t d = 0; d < d_h.shape[1]; ++d) d_h(b, d) = 0;
    decay_backward<S>(a["x"].as<const S, 3>("x"), a["w"].as<const S, 1>("w"),
                      a["start"].as<const uint8_t, 2>("start"), a["h0"].as<const S, 2>("h0"),
                      a["d_y"].as<const S, 3>("d_y"), a["d_x"].as<S, 3>("d_x"), d_w, d_h);
}

inline void run_step(Bug bug, const TensorBag& a, bool f64) {
    auto step = [&]<class S>(S) {
        auto h = a["hT"].as<S, 2>("hT");
        auto y = a["y"].as<S, 3>("y");
        const auto in = bug == Bug::step_ignores_state ? View<const S, 2>{} : a["hT"].as<const S, 2>("hT");
        decay_forward<S>(a["x"].as<const S, 3>("x"), a["w"].as<const S, 1>("w"),
                         a["start"].as<const uint8_t, 2>("start"), in, y, h);
        if (bug == Bug::step_mixes_rows) y(0, 0, 0) += S(1e-7) * static_cast<S>(y.shape[0]);
    };
    f64 ? step(double{}) : step(float{});
}

// The arrays of a call on a GPU, on the host and in f32: the toy has no kernels, what is tested is the driver.
class OnHost {
  public:
    OnHost(const TensorBag& bag_on_gpu, Bug bug) : bug_(bug) {
        for (const auto& [name, t] : bag_on_gpu.tensors) {
            Array a{t, span(t), {}, {}};
            a.raw.resize(static_cast<size_t>(a.elements * size_of(t.dtype)));
            copy_bytes(a.raw.data(), t.data, static_cast<int64_t>(a.raw.size()));
            TensorRef host = t;
            host.device = Device::cpu;
            if (t.dtype == DType::bf16) {
                host.dtype = DType::f32;
                a.values.resize(static_cast<size_t>(a.elements));
                const TensorRef all(a.raw.data(), DType::bf16, {a.elements});
                const std::vector<double> v = values_of(all);
                a.values.assign(v.begin(), v.end());
            }
            if (bug == Bug::ignores_strides && name == "y") host.stride = TensorRef(nullptr, host.dtype, t.shape).stride;
            Array& kept = arrays_.emplace(name, std::move(a)).first->second;
            host.data = t.dtype == DType::bf16 ? static_cast<void*>(kept.values.data()) : kept.raw.data();
            bag.tensors[name] = host;
        }
    }
    void back() {
        for (auto& [name, a] : arrays_) {
            if (a.on_gpu.dtype == DType::bf16) {
                std::vector<double> v(a.values.begin(), a.values.end());
                if (bug_ == Bug::rounds_coarsely && name == "y")
                    for (double& x : v) x = coarse(x);
                set_values(TensorRef(a.raw.data(), DType::bf16, {a.elements}), v);
            }
            copy_bytes(a.on_gpu.data, a.raw.data(), static_cast<int64_t>(a.raw.size()));
        }
    }
    TensorBag bag;

  private:
    struct Array {
        TensorRef on_gpu;
        int64_t elements;  // from the first to the last, gaps included
        std::vector<unsigned char> raw;
        std::vector<float> values;
    };
    static int64_t span(const TensorRef& t) {
        int64_t last = 0;
        for (int d = 0; d < t.rank(); ++d) last += (t.size(d) - 1) * t.stride[static_cast<size_t>(d)];
        return last + 1;
    }
    // Eight times coarser than bf16.
    static double coarse(double x) {
        int exponent = 0;
        const double fraction = std::frexp(x, &exponent);
        return std::isfinite(x) ? std::ldexp(std::nearbyint(fraction * 32) / 32, exponent) : x;
    }
    Bug bug_;
    std::map<std::string, Array> arrays_;
};

inline void forward_on_gpu(Ctx& ctx, Bug bug, const TensorBag& a, void* scratch) {
    OnHost host(a, bug);
    run_forward<float>(ctx, bug, host.bag, scratch);
    if (bug == Bug::reads_stale_scratch) {
        float stale;
        copy_bytes(&stale, scratch, sizeof stale);
        host.bag["y"].as<float, 3>("y")(0, 0, 0) += 0 * stale;
    }
    host.back();
    const TensorRef y = a["y"];
    const int64_t last = (y.size(0) - 1) * y.stride[0] + (y.size(1) - 1) * y.stride[1] + y.size(2);
    const char byte = 1;
    if (bug == Bug::writes_past_end)
        copy_bytes(static_cast<char*>(y.data) + last * size_of(y.dtype), &byte, 1);
    if (bug == Bug::writes_past_scratch) copy_bytes(static_cast<char*>(scratch) + kScratchBytes, &byte, 1);
}

struct Decay {
    static constexpr const char* op = "decay";
    static constexpr bool sequence = true;
    struct Case {
        unsigned use;
        int64_t B, L, D;
        bool state;
        Bug bug;
    };
    static std::string name(const Case& c) { return fmt::format("B{} L{} D{}", c.B, c.L, c.D); }
    static Case part(Case c, int64_t B, int64_t L, bool state) {
        c.B = B;
        c.L = L;
        c.state = state;
        return c;
    }
    static std::vector<ArraySpec> inputs(const Case& c) {
        std::vector<ArraySpec> all = {ArraySpec::activation("x", {c.B, c.L, c.D}),
                                      ArraySpec::parameter("w", {c.D})};
        if (c.state) all.push_back(ArraySpec::state("h0", {c.B, c.D}).gradient_in("d_hT"));
        all.push_back(ArraySpec::start_flags("start", c.B, c.L));
        return all;
    }
    static std::vector<ArraySpec> outputs(const Case& c) {
        return {ArraySpec::activation("y", {c.B, c.L, c.D}),
                ArraySpec::state("hT", {c.B, c.D}).continuing("h0")};
    }
    template <class S>
    static void ref_forward(const Case& c, Bag<S>& a) {
        auto y = a.template out<3>("y");
        decay_forward<S>(a.template in<3>("x"), a.template in<1>("w"), a.flags("start"),
                         a.template in<2>("h0"), y, a.template out<2>("hT"));
        if (c.bug != Bug::constant_output) return;
        for (int64_t i = 0; i < y.shape[0] * y.shape[1] * y.shape[2]; ++i) y.data[i] = S(1);
    }
    template <class S>
    static void ref_backward(const Case& c, Bag<S>& a) {
        decay_backward<S>(a.template in<3>("x"), a.template in<1>("w"), a.flags("start"),
                          a.template in<2>("h0"), a.template in<3>("d_y"), a.template out<3>("d_x"),
                          a.template out<1>("d_w"), a.template out<2>("d_hT"));
        if (c.bug == Bug::wrong_backward) a.template out<1>("d_w")(0) *= S(1 + 1e-9);
    }
    static DType check(const Ctx& ctx, const Case& c, const TensorBag& a) {
        const DType storage = storage_of(ctx, op, "x", a["x"]), S = accum_of(storage);
        if (c.bug == Bug::accepts_any_shape) return storage;
        const int64_t B = a["x"].size(0), L = a["x"].size(1), D = a["x"].size(2);
        expect(op, "w", a["w"], S, {D});
        expect_optional(op, "start", a["start"], DType::u8, {B, L});
        expect_optional(op, "h0", a["h0"], S, {B, D});
        expect(op, "y", a["y"], storage, {B, L, D});
        expect(op, "hT", a["hT"], S, {B, D});
        return storage;
    }
    static void forward(Ctx& ctx, const Case& c, TensorBag& a) {
        const DType storage = check(ctx, c, a);
        const bool more = c.bug == Bug::takes_unplanned_scratch && !ctx.dry_run;
        run_op(ctx, {op, {}, {}}, kScratchBytes + (more ? 256 : 0), [&](Ctx& x, void* scratch) {
            if (x.device == Device::cuda) return forward_on_gpu(x, c.bug, a, scratch);
            storage == DType::f64 ? run_forward<double>(x, c.bug, a, scratch)
                                  : run_forward<float>(x, c.bug, a, scratch);
        });
    }
    static void backward(Ctx& ctx, const Case& c, TensorBag& a) {
        const DType storage = check(ctx, c, a), S = accum_of(storage);
        expect(op, "d_x", a["d_x"], storage, a["x"].shape);
        expect(op, "d_w", a["d_w"], S, a["w"].shape);
        expect(op, "d_hT", a["d_hT"], S, a["hT"].shape);
        run_op(ctx, {op, {}, {}}, 0, [&](Ctx& x, void*) {
            if (x.device == Device::cuda) {
                OnHost host(a, c.bug);
                run_backward<float>(c.bug, host.bag);
                return host.back();
            }
            storage == DType::f64 ? run_backward<double>(c.bug, a) : run_backward<float>(c.bug, a);
        });
    }
    static void step(Ctx& ctx, const Case& c, TensorBag& a) {
        const bool f64 = check(ctx, c, a) == DType::f64;
        run_op(ctx, {op, {}, {}}, 0, [&](Ctx& x, void*) {
            if (x.device == Device::cuda) {
                OnHost host(a, c.bug);
                run_step(c.bug, host.bag, false);
                return host.back();
            }
            run_step(c.bug, a, f64);
        });
    }
};

}  // namespace adder
