#include "apps/cmd_plan.h"

#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/initial_model.h"
#include "apps/presets.h"
#include "apps/setup.h"
#include "train/checkpoint.h"
#include "train/trainer.h"

namespace adder {

namespace {

constexpr CommandText kText = {"plan", kPlanSummary,
                               "adder plan --domain dna --d-model 256 --layers 8 --length 1048576 --memory 10GiB"};

using Json = nlohmann::ordered_json;

// Milliseconds of a step of other tiles, in real steps on tokens made up on the spot.
double measure_step_ms(LanguageModel& model, ParamStore& params, const Compute& compute, const TileOptions& tiles) {
    Trainer trainer(model, params, {}, compute, plan_training(model, compute, tiles));
    const FillBatch fill = [&](int64_t, int64_t, Batch& batch) {
        auto* ids = batch.ids.ref().ptr<uint16_t>("ids");
        auto* targets = batch.targets.ref().ptr<uint16_t>("targets");
        const int64_t n = batch.B * batch.L;
        for (int64_t i = 0; i < n; ++i) ids[i] = static_cast<uint16_t>(i % model.config().vocab_size);
        std::copy_n(ids + 1, n - 1, targets);
        std::fill_n(batch.weights.ref().ptr<float>("weights"), n, 1.0f);
    };
    double best = 0;
    // On a GPU the second step records graphs; from the third on they are replayed.
    for (int64_t step = 0; step < 4; ++step) {
        const double ms = trainer.step(step, 1, 0, fill).ms;
        if (step == 0 || ms < best) best = ms;
    }
    return best;
}

// Seconds of a micro-batch. On the CPU of a short sequence of the same model: time is linear in the length, so it holds
// for any. On a GPU of whole tiles, because short ones do not fill it: one tile, and three where some are computed again.
double measure_seconds(LanguageModel& model, const Compute& compute, int64_t seed, const MemoryPlan& plan) {
    ParamStore params([&](ParamVisitor& v) { model.visit(v); }, compute.storage, true, compute.device);
    params.initialise(static_cast<uint64_t>(seed));
    const auto n = static_cast<double>(plan.n_tiles);
    TileOptions one = plan.tiles;
    one.L = one.T;
    one.keep = 1;
    if (compute.device == Device::cpu) {
        one.L = one.T = std::min<int64_t>(one.T, std::max<int64_t>(1024, model.backbone().stride()));
        one.B = std::min(one.B, std::max<int64_t>(1, 1024 / one.L));
        const double ms = measure_step_ms(model, params, compute, one) / static_cast<double>(one.B * one.L);
        // What is computed again is not in the short run.
        const auto again = static_cast<double>(plan.n_tiles - std::min(plan.tiles.keep, plan.n_tiles));
        return 1e-3 * ms * static_cast<double>(plan.tiles.B * plan.tiles.L) * (1 + again / n / 3);
    }
    const double kept = measure_step_ms(model, params, compute, one);
    // The last tile is never computed twice.
    const int64_t again = std::min(plan.n_tiles - plan.tiles.keep, plan.n_tiles - 1);
    double twice = kept;
    if (again > 0) {
        TileOptions three = one;
        three.L = std::min(3 * one.T, plan.tiles.L);
        const double behind = static_cast<double>(three.L - one.T) / static_cast<double>(one.T);
        twice = (measure_step_ms(model, params, compute, three) - kept) / behind;
    }
    const double tail = n - static_cast<double>(plan.tiles.L) / static_cast<double>(plan.tiles.T);
    return 1e-3 * ((n - tail - static_cast<double>(again)) * kept + static_cast<double>(again) * twice);
}

}  // namespace

void run_plan(App& app, const std::vector<std::string>& args) {
    cli::TrainOptions o;
    bool json = false;
    OptionList list = o.plan_list();
    list.add({.name = "json", .value = &json, .help = "print one JSON object"});
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help) return void(app.results = help_text(kText, list));
    if (o.data.domain.empty() && !o.model.init.empty())
        o.data.domain = data_options_of(find_checkpoint(o.model.init, false)).domain;
    if (o.data.domain.empty() && o.preset.empty()) o.data.domain = "dna";
    apply_defaults(o, list, line.given);
    apply_initial_model(o, list, line.given);
    const Domain& domain = find_domain(o.data.domain);
    o.resolve();
    o.check_scopes(list, line.chosen);
    if (line.print_config) o.machine.show();
    if (line.print_config) return void(app.results = config_text(list));
    Machine machine(o.machine, app.console);
    const Compute compute = machine.compute();
    LanguageModel model(model_config(o.model, domain.make_tokenizer(o.data)->vocabulary()));
    o.tiles.evaluates = o.data.holds_out();
    const std::vector<MemoryPlan> plans = stage_plans(model, compute, o.tiles, o.tiles.tile.value_or(0));
    const MemoryPlan& p = plans.back();
    const MemoryPlan& largest_stage = most_memory(plans);
    // A model that does not fit here is planned for another machine.
    const bool here = compute.gpu ? largest_stage.total_bytes() < gpu_free_bytes()
                                  : p.parameter_bytes + p.optimizer_bytes < physical_memory_bytes() / 2;
    const double seconds = here ? measure_seconds(model, compute, o.optimizer.seed, p) : 1;
    const double tokens_per_s = static_cast<double>(p.tiles.B * p.tiles.L) / seconds;
    const int64_t step_tokens = o.tiles.accumulation * p.tiles.B * p.tiles.L;
    const double hours = static_cast<double>(o.optimizer.steps) * static_cast<double>(step_tokens) / tokens_per_s / 3600;
    const LargestPlans largest = largest_plans_of(model, compute, o.tiles);
    const int64_t batch = largest.B, length = largest.L;
    if (json) {
        Json j = {{"parameters", p.parameters}, {"tile", p.tiles.T}, {"keep", p.tiles.keep},
                  {"tiles", p.n_tiles}, {"memory_bytes", largest_stage.total_bytes()},
                  {"arenas", Json::object()},
                  {"device", name_of(compute.device)}, {"device_name", machine.name()}, {"dtype", name_of(compute.storage)},
                  {"step_flops", static_cast<double>(o.tiles.accumulation) * p.step_flops}, {"step_tokens", step_tokens},
                  {"tokens_per_s", here ? Json(tokens_per_s) : Json()}, {"hours", here ? Json(hours) : Json()}, {"largest_batch", batch},
                  {"largest_length", length}};
        for (const MemoryPlan::Part& part : largest_stage.parts()) j["arenas"][part.key] = part.bytes;
        app.results = j.dump() + "\n";
        return;
    }
    app.results = plan_text(model, plans, o.tiles.accumulation) +
                  fmt::format("\nfits     batch up to {} at this length, length up to {} at this batch\n",
                              batch, length) +
                  (here ? fmt::format("speed    {:.0f} tokens/s measured in a short run; {} steps take {:.2f} hours\n",
                                      tokens_per_s, o.optimizer.steps, hours)
                        : "speed    not measured: the model does not fit into the memory of this machine\n");
}

}  // namespace adder
