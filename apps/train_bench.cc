// Training steps.
#include <cmath>

#include "apps/bench_parts.h"
#include "apps/machine.h"
#include "train/trainer.h"

namespace adder {

namespace {

// Small enough that the first updates, which have no warm-up here, do not throw 90M weights about: the comparison with f32
// is of rounding, not of how fast two runs part.
constexpr double kLearningRate = 1e-4;

// Steps whose losses are compared: long sequences are slow in f32.
int64_t parity_steps(int64_t L) { return L < 1 << 17 ? 20 : 3; }

MemoryPlan plan_of(const ModelCase& c, LanguageModel& model, const Compute& compute, const cli::BenchOptions& o) {
    const int64_t keep = o.keep.value_or(c.tile > 0 ? 1 : -1);
    if (compute.device == Device::cpu && !o.memory)
        return plan_training(model, compute, {c.B, c.L, c.tile > 0 ? c.tile : c.L, std::max<int64_t>(keep, 1)});
    const int64_t memory = o.memory ? o.memory->count : default_memory_bytes(compute.device);
    return choose_tiles(model, compute, {c.B, c.L, c.tile, keep}, memory);
}

// A model that is trained, from the same weights in every storage type.
struct Training {
    Training(const ModelCase& c, const Compute& compute, const cli::BenchOptions& o)
        : m(c, compute, true), plan(plan_of(c, m.model, compute, o)), trainer(m.model, m.params, {}, compute, plan) {}
    BenchModel m;
    MemoryPlan plan;
    Trainer trainer;
};

std::vector<double> losses(Trainer& trainer, const FillBatch& fill, int64_t steps) {
    std::vector<double> all;
    for (int64_t step = 0; step < steps; ++step) {
        const StepResult r = trainer.step(step, 1, kLearningRate, fill);
        all.push_back(r.sums.loss / r.sums.weight);
    }
    return all;
}

// NaN counts as infinitely different.
double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
    double worst = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        const double d = std::abs(a[i] - b[i]) / std::abs(b[i]);
        worst = std::isfinite(d) ? std::max(worst, d) : HUGE_VAL;
    }
    return worst;
}

// Steps in a row, by the clock on the wall, drawing their batches included, while the next one is already
// submitted, as a run does it.
void time_steps(Trainer& trainer, const FillBatch& fill, int64_t first_step, int64_t runs, ModelTiming& timing) {
    const bool gpu = trainer.compute().device == Device::cuda;
    const int64_t ahead = gpu ? 1 : 0;
    int64_t step = first_step;
    double busy_ms = 0, idle_ms = 0;
    auto last = BenchClock::now();
    const auto next = [&](int64_t steps) {
        const auto begin = last;
        for (int64_t i = 0; i < steps; ++i) {
            trainer.submit(step++, 1, kLearningRate, fill);
            if (trainer.pending() <= ahead) continue;
            const StepResult r = trainer.collect();
            busy_ms += r.ms;
            idle_ms += r.idle_ms;
        }
        last = BenchClock::now();
        return std::chrono::duration<double, std::milli>(last - begin).count() / static_cast<double>(steps);
    };
    // The first step fills the pipeline and may record graphs.
    next(2);
    const double once = next(1);
    busy_ms = idle_ms = 0;
    // As many steps a run as make its edges short.
    const int64_t steps = gpu ? std::clamp<int64_t>(static_cast<int64_t>(300 / once), 2, 32) : 1;
    take_times(runs, 1e4, [&] { return next(steps); }, timing);
    while (trainer.pending() > 0) trainer.collect();
    if (!gpu) return;
    timing.idle_pct = 100 * idle_ms / (busy_ms + idle_ms);
    timing.idle_steps = timing.runs * steps;
}

}  // namespace

ModelTiming time_training(const ModelCase& c, const Compute& compute, const cli::BenchOptions& o) {
    ModelTiming timing;
    const bool compared = compute.device == Device::cuda && compute.storage == DType::bf16;
    timing.parity_steps = compared ? parity_steps(c.L) : 0;
    const BenchTokens tokens(c.B, c.L, std::max<int64_t>(timing.parity_steps, 2));
    std::vector<double> exact;
    if (compared) {
        Compute f32 = compute;
        f32.storage = DType::f32;
        Training t(c, f32, o);
        exact = losses(t.trainer, tokens.fill(), timing.parity_steps);
    }
    Training t(c, compute, o);
    if (compared) timing.parity = largest_difference(losses(t.trainer, tokens.fill(), timing.parity_steps), exact);
    timing.parameters = t.m.params.count();
    timing.memory_bytes = t.plan.total_bytes();
    timing.tile = t.plan.tiles.T;
    timing.keep = t.plan.tiles.keep;
    // Contigs of two windows: nearly every window is one sequence.
    const BenchWindows windows(c.B, c.L, 2 * c.L);
    const FillBatch draw = [&](int64_t step, int64_t, Batch& batch) { windows.fill(step, batch); };
    time_steps(t.trainer, draw, timing.parity_steps, o.repeats, timing);
    timing.tokens_per_s = 1e3 * static_cast<double>(c.B * c.L) / timing.best_ms;
    return timing;
}

}  // namespace adder
