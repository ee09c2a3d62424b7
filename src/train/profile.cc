#include "train/profile.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/error.h"

namespace adder {

namespace {

bool same(const OpCall& a, const OpCall& b) {
    return std::strcmp(a.name, b.name) == 0 && std::equal(std::begin(a.dims), std::end(a.dims), std::begin(b.dims));
}

std::string dims_text(const OpCall& call) {
    std::string s;
    for (int64_t d : call.dims)
        if (d) s += (s.empty() ? "" : "x") + std::to_string(d);
    return s;
}

}  // namespace

void Profile::ran(const OpCall& call, double seconds, int64_t scratch_bytes,
                  std::function<void(Ctx&, void*)> rerun) {
    auto it = std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) { return same(r.call, call); });
    if (it == rows_.end()) it = rows_.insert(rows_.end(), Row{call, 0, 0, 0, 0, {}});
    it->calls += 1;
    it->in_step_s += seconds;
    it->scratch_bytes = scratch_bytes;
    it->rerun = std::move(rerun);
}

void Profile::measure_isolated(Ctx& ctx, int repetitions) {
    for (Row& r : rows_) {
        const Tensor scratch(DType::u8, {std::max<int64_t>(r.scratch_bytes, 1)}, ctx.device);
        for (int i = 0; i < repetitions; ++i) {
            const double took = seconds_of(ctx, [&] { r.rerun(ctx, r.scratch_bytes > 0 ? scratch.ref().data : nullptr); });
            r.isolated_s = i == 0 ? took : std::min(r.isolated_s, took);
        }
    }
}

std::string Profile::table(double step_s) const {
    std::vector<const Row*> order;
    for (const Row& r : rows_)
        if (r.calls) order.push_back(&r);
    std::sort(order.begin(), order.end(), [](const Row* a, const Row* b) { return a->in_step_s > b->in_step_s; });
    std::string out = fmt::format("{:<26} {:<22} {:>6} {:>11} {:>12} {:>8} {:>8}\n", "op", "sizes", "calls", "in step ms",
                                  "isolated ms", "GB/s", "GFLOP/s");
    double in_step = 0, isolated = 0;
    for (const Row* r : order) {
        const auto calls = static_cast<double>(r->calls);
        in_step += r->in_step_s;
        isolated += calls * r->isolated_s;
        const double per_s = calls / r->in_step_s;
        out += fmt::format("{:<26} {:<22} {:>6} {:>11.3f} {:>12.3f} {:>8.2f} {:>8.2f}\n", r->call.name,
                           dims_text(r->call), r->calls, 1e3 * r->in_step_s, 1e3 * calls * r->isolated_s,
                           1e-9 * static_cast<double>(r->call.cost.bytes) * per_s,
                           1e-9 * static_cast<double>(r->call.cost.flops) * per_s);
    }
    out += fmt::format("{:<26} {:<22} {:>6} {:>11.3f} {:>12.3f}\n", "all ops", "", "", 1e3 * in_step, 1e3 * isolated);
    out += fmt::format("step {:.3f} ms; calls x isolated time explain {:.1f} % of it\n", 1e3 * step_s,
                       100 * isolated / step_s);
    return out;
}

std::string profile_steps(Trainer& trainer, const Compute& compute, int64_t accumulation, const FillBatch& fill) {
    constexpr int64_t kTimedSteps = 7;
    double step_s = 0;
    for (int64_t step = 0; step <= kTimedSteps; ++step) {
        const auto begin = std::chrono::steady_clock::now();
        trainer.step(step, accumulation, 0, fill);
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        if (step == 1 || (step > 1 && took.count() < step_s)) step_s = took.count();
    }
    Profile profile;
    trainer.set_meter(&profile);
    trainer.step(kTimedSteps + 1, accumulation, 0, fill);
    trainer.set_meter(nullptr);
    Arena scratch(compute.device, "scratch");
    Ctx ctx = compute.context(scratch);
    profile.measure_isolated(ctx, 7);
    return profile.table(step_s);
}

}  // namespace adder
