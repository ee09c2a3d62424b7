#include "apps/cmd_plan.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/setup.h"
#include "train/trainer.h"

namespace adder {

namespace {

constexpr CommandText kText = {"plan", kPlanSummary,
                               "adder plan --domain dna --d-model 256 --layers 8 --length 1048576 --memory 10GiB"};

using Json = nlohmann::ordered_json;

// Largest value of `set` (doubling) whose plan fits.
template <class Fits>
int64_t largest(int64_t from, Fits fits) {
    int64_t best = 0;
    for (int64_t n = from; n <= int64_t{1} << 40; n *= 2) {
        if (!fits(n)) break;
        best = n;
    }
    return best;
}

bool fits(LanguageModel& model, const Compute& compute, cli::TileOptions options) {
    try {
        stage_plans(model, compute, options, options.tile.value_or(0));
        return true;
    } catch (const Error&) {
        return false;
    }
}

// Tokens a second of a short sequence of the same model: time is linear in the length, so it holds for any.
double measure_tokens_per_s(LanguageModel& model, const Compute& compute, const cli::TrainOptions& o, const MemoryPlan& plan) {
    const int64_t L = std::min<int64_t>({plan.tiles.T, plan.tiles.L, 1024});
    TileOptions tiles{std::min<int64_t>(plan.tiles.B, std::max<int64_t>(1, 1024 / L)), L, L, 1};
    ParamStore params([&](ParamVisitor& v) { model.visit(v); }, compute.storage, true, compute.device);
    params.initialise(static_cast<uint64_t>(o.optimizer.seed));
    Trainer trainer(model, params, {}, compute, plan_training(model, compute, tiles));
    const FillBatch fill = [&](int64_t, int64_t, Batch& batch) {
        auto* ids = batch.ids.ref().ptr<uint16_t>("ids");
        for (int64_t i = 0; i < batch.B * batch.L; ++i) ids[i] = static_cast<uint16_t>(i % model.config().vocab_size);
        std::fill_n(batch.weights.ref().ptr<float>("weights"), batch.B * batch.L, 1.0f);
    };
    double best = 0;
    for (int64_t step = 0; step < 4; ++step) {
        const auto begin = std::chrono::steady_clock::now();
        trainer.step(step, 1, 0, fill);
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        best = std::max(best, static_cast<double>(tiles.B * tiles.L) / took.count());
    }
    // What is computed again is not in the short run.
    const auto again = static_cast<double>(plan.n_tiles - std::min(plan.tiles.keep, plan.n_tiles));
    return best / (1 + again / static_cast<double>(plan.n_tiles) / 3);
}

}  // namespace

void run_plan(App& app, const std::vector<std::string>& args) {
    cli::TrainOptions o;
    bool json = false;
    OptionList list = o.plan_list();
    list.add({.name = "json", .value = &json, .help = "print one JSON object"});
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help) return void(app.results = help_text(kText, list));
    const Domain& domain = find_domain(o.data.domain.empty() ? "dna" : o.data.domain);
    apply_json(list, domain.defaults(), line.given, "defaults");
    o.resolve();
    if (line.print_config) return void(app.results = config_text(list));
    o.machine.prepare();

    ThreadPool pool(static_cast<int>(*o.machine.threads));
    const Compute compute{.pool = &pool};
    LanguageModel model(model_config(o.model, domain.vocabulary));
    const std::vector<MemoryPlan> plans = stage_plans(model, compute, o.tiles, o.tiles.tile.value_or(0));
    const MemoryPlan& p = plans.back();
    // A model that does not fit here is planned for another machine.
    const bool here = p.parameter_bytes + p.optimizer_bytes < physical_memory_bytes() / 2;
    const double tokens_per_s = here ? measure_tokens_per_s(model, compute, o, p) : 0;
    const int64_t step_tokens = o.tiles.accumulation * p.tiles.B * p.tiles.L;
    const double hours = static_cast<double>(o.optimizer.steps) * static_cast<double>(step_tokens) / tokens_per_s / 3600;
    const int64_t batch = largest(1, [&](int64_t n) {
        auto t = o.tiles;
        t.batch = n;
        t.length_warmup.clear();
        return fits(model, compute, t);
    });
    const int64_t length = largest(1, [&](int64_t n) {
        auto t = o.tiles;
        t.length = n;
        t.length_warmup.clear();
        return fits(model, compute, t);
    });
    if (json) {
        Json j = {{"parameters", p.parameters}, {"tile", p.tiles.T}, {"keep", p.tiles.keep},
                  {"tiles", p.n_tiles}, {"memory_bytes", p.total_bytes()},
                  {"arenas", {{"parameters", p.parameter_bytes}, {"optimizer", p.optimizer_bytes},
                              {"tiles", p.saved_bytes}, {"borders", p.border_bytes}, {"scratch", p.scratch_bytes},
                              {"batch", p.batch_bytes}}},
                  {"step_flops", static_cast<double>(o.tiles.accumulation) * p.step_flops}, {"step_tokens", step_tokens},
                  {"tokens_per_s", here ? Json(tokens_per_s) : Json()}, {"hours", here ? Json(hours) : Json()}, {"largest_batch", batch},
                  {"largest_length", length}};
        app.results = j.dump() + "\n";
        return;
    }
    app.results = plan_text(model, plans, o.tiles.accumulation) +
                  fmt::format("\nfits     batch up to {} at this length, length up to {} at this batch (powers of two)\n",
                              batch, length) +
                  (here ? fmt::format("speed    {:.0f} tokens/s measured on a short sequence; {} steps take {:.2f} hours\n",
                                      tokens_per_s, o.optimizer.steps, hours)
                        : "speed    not measured: the model does not fit into the memory of this machine\n");
}

}  // namespace adder
