#include "kernels/common/op_bench.h"

#include <algorithm>
#include <chrono>

#include "kernels/common/op_instance.h"

namespace adder {

namespace {

// Best and median of 7; a run repeats `f` until it takes 2 ms, far above the clock's grain.
template <class F>
OpTime time_of(F f) {
    using Clock = std::chrono::steady_clock;
    auto run = [&](int64_t times) {
        const auto begin = Clock::now();
        for (int64_t i = 0; i < times; ++i) f();
        return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    };
    run(1);
    const double once = run(1);
    const auto times = static_cast<int64_t>(std::clamp(2 / std::max(once, 1e-6), 1.0, 1e5));
    std::vector<double> ms;
    for (int i = 0; i < 7; ++i) ms.push_back(run(times) / static_cast<double>(times));
    std::sort(ms.begin(), ms.end());
    return {ms.front(), ms[ms.size() / 2]};
}

// Adds up what the calls of a pass cost.
struct CostMeter : OpMeter {
    OpCost total;
    void planned(const OpCall& call) override {
        total.bytes += call.cost.bytes;
        total.flops += call.cost.flops;
    }
    void ran(const OpCall&, double, int64_t, std::function<void(Ctx&, void*)>) override {}
};

OpCost plan(const std::function<void(Ctx&, TensorBag&)>& pass, Ctx& ctx, TensorBag& bag) {
    CostMeter meter;
    ctx.meter = &meter;
    pass(ctx, bag);
    ctx.meter = nullptr;
    return meter.total;
}

}  // namespace

OpTiming time_case(const OpCase& c, ThreadPool& pool) {
    OpTiming timing;
    const Bag<double> numbers = make_inputs(c);
    Instance run(c, numbers, DType::f32);
    Arena counting;
    Ctx ctx;
    ctx.pool = &pool;
    ctx.scratch = &counting;
    ctx.dry_run = true;
    timing.cost_forward = plan(c.forward, ctx, run.bag());
    if (c.backward) timing.cost_backward = plan(c.backward, ctx, run.bag());
    Arena scratch;
    scratch.bind(counting.peak_bytes());
    ctx.scratch = &scratch;
    ctx.dry_run = false;
    timing.forward = time_of([&] { c.forward(ctx, run.bag()); });
    if (c.backward) timing.backward = time_of([&] { c.backward(ctx, run.bag()); });

    Bag<float> bag = numbers.as<float>();
    add_outputs(c, bag);
    timing.ref_forward = time_of([&] { c.ref_forward.f32(bag); });
    if (c.ref_forward.not_vectorized)
        timing.plain_forward = time_of([&] { c.ref_forward.not_vectorized(bag); });
    if (!c.backward) return timing;
    add_gradients(c, bag);
    timing.ref_backward = time_of([&] { c.ref_backward.f32(bag); });
    if (c.ref_backward.not_vectorized)
        timing.plain_backward = time_of([&] { c.ref_backward.not_vectorized(bag); });
    return timing;
}

}  // namespace adder
