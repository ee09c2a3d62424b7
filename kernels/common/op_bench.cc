#include "kernels/common/op_bench.h"

#include "kernels/common/op_instance.h"

namespace adder {

namespace {

// Adds up what the calls of a pass cost.
struct CostMeter : OpMeter {
    OpCost total;
    void planned(const OpCall& call) override {
        total.bytes += call.cost.bytes;
        total.flops += call.cost.flops;
    }
    void ran(const OpCall&, double, int64_t, std::function<void(Ctx&, void*)>) override {}
};

}  // namespace

OpCost planned_cost(const std::function<void(Ctx&, TensorBag&)>& pass, Ctx& ctx, TensorBag& bag) {
    CHECK(ctx.dry_run);
    CostMeter meter;
    ctx.meter = &meter;
    pass(ctx, bag);
    ctx.meter = nullptr;
    return meter.total;
}

OpTiming time_case(const OpCase& c, ThreadPool& pool, int64_t runs) {
    OpTiming timing;
    const Bag<double> numbers = make_inputs(c);
    Instance run(c, numbers, DType::f32);
    Arena counting;
    Ctx ctx;
    ctx.pool = &pool;
    ctx.scratch = &counting;
    ctx.dry_run = true;
    timing.cost_forward = planned_cost(c.forward, ctx, run.bag());
    if (c.backward) timing.cost_backward = planned_cost(c.backward, ctx, run.bag());
    Arena scratch;
    scratch.bind(counting.peak_bytes());
    ctx.scratch = &scratch;
    ctx.dry_run = false;
    timing.forward = time_of(runs, [&] { c.forward(ctx, run.bag()); });
    if (c.backward) timing.backward = time_of(runs, [&] { c.backward(ctx, run.bag()); });

    Bag<float> bag = numbers.as<float>();
    add_outputs(c, bag);
    timing.ref_forward = time_of(runs, [&] { c.ref_forward.f32(bag); });
    if (c.ref_forward.not_vectorized)
        timing.plain_forward = time_of(runs, [&] { c.ref_forward.not_vectorized(bag); });
    if (!c.backward) return timing;
    add_gradients(c, bag);
    timing.ref_backward = time_of(runs, [&] { c.ref_backward.f32(bag); });
    if (c.ref_backward.not_vectorized)
        timing.plain_backward = time_of(runs, [&] { c.ref_backward.not_vectorized(bag); });
    return timing;
}

}  // namespace adder
