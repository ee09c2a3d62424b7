#include "train/trainer.h"

namespace adder {

Trainer::Trainer(LanguageModel& model, ParamStore& params, const OptimizerOptions& options, const Compute& compute,
                 const MemoryPlan& plan)
    : params_(params), optimizer_(params, options), engine_(model, compute, plan),
      batch_(plan.tiles.B, plan.tiles.L), plan_(plan), scratch_(compute.device, "scratch of the update"),
      ctx_(compute.context(scratch_)) {
    ctx_.dry_run = true;
    optimizer_.step(ctx_, 0, 1);
    optimizer_.updates = 0;
    ctx_.dry_run = false;
    scratch_.bind(scratch_.peak_bytes());
}

void Trainer::configure(const MemoryPlan& plan) {
    if (plan.tiles == plan_.tiles) return;
    plan_ = plan;
    batch_ = {};
    engine_.configure(plan);
    batch_ = Batch(plan.tiles.B, plan.tiles.L);
}

void Trainer::set_meter(OpMeter* meter) {
    engine_.set_meter(meter);
    ctx_.meter = meter;
}

StepResult Trainer::step(int64_t step, int64_t accumulation, double lr, const FillBatch& fill) {
    StepResult r;
    params_.zero_gradients(ctx_);
    for (int64_t micro = 0; micro < accumulation; ++micro) {
        fill(step, micro, batch_);
        const LossSums sums = engine_.forward_backward(batch_);
        r.sums.loss += sums.loss;
        r.sums.weight += sums.weight;
    }
    if (r.sums.weight == 0) return r;
    Optimizer::Result o = optimizer_.step(ctx_, lr, r.sums.weight);
    r.grad_norm = o.grad_norm;
    r.updated = o.bad_gradient.empty();
    r.bad_gradient = std::move(o.bad_gradient);
    r.bad_parameter = std::move(o.bad_parameter);
    return r;
}

}  // namespace adder
