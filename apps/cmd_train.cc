#include "apps/cmd_train.h"

#include <numbers>

#include "apps/command_line.h"
#include "apps/initial_model.h"
#include "apps/output_file.h"
#include "apps/presets.h"
#include "apps/run_folder.h"
#include "apps/run_log.h"
#include "apps/run_options.h"
#include "apps/scoring.h"
#include "apps/setup.h"
#include "apps/signals.h"
#include "pipelines/windows.h"
#include "train/loop.h"
#include "train/profile.h"
#include "train/schedule.h"

namespace adder {

namespace {

constexpr CommandText kText = {
    "train", kTrainSummary,
    "adder train --domain dna --input genome.fa.gz --out run --valid-fraction 0.2\n"
    "adder train --domain audio --input digits/ --pattern '{label}_{group}_{take}' --class-conditional --out speech\n"
    "adder train --out run --resume"};

// Periodic evaluations read at most this many held-out tokens; the last one reads all.
constexpr int64_t kPeriodicEvaluationTokens = 1 << 18;

class TrainCommand {
  public:
    TrainCommand(App& app, cli::TrainOptions& options, OptionList& list, RunFolder& folder, Machine& machine)
        : app_(app), o_(options), list_(list), folder_(folder), machine_(machine), compute_(machine.compute()),
          domain_(find_domain(o_.data.domain)) {}

    void run() {
        data_ = load_training_data(o_.data, domain_, app_.console, list_);
        // What the inputs decided belongs to the run.
        apply_json(list_, data_.resolved, {}, "the input");
        folder_.check_data(data_);
        LanguageModel model(model_config(o_.model, data_.tokenizer->vocabulary()));
        set_resolved(o_.model, model.config());
        const int64_t recorded = folder_.stored().is_null() ? 0 : folder_.stored().value("tile", int64_t{0});
        o_.tiles.evaluates = !data_.valid.empty();
        const std::vector<MemoryPlan> plans = resumed_plans(model, compute_, o_.tiles, recorded);
        say(plan_text(model, plans, o_.tiles.accumulation));
        require_room(model, compute_, plans);
        ParamStore params([&](ParamVisitor& v) { model.visit(v); }, compute_.storage, true, compute_.device);
        const auto& a = o_.optimizer;
        Trainer trainer(model, params, {a.beta1, a.beta2, a.eps, a.weight_decay, a.clip}, compute_, plans.front(),
                        plans);
        TrainerState state = begin(model, params, trainer);
        const WindowSampler sampler(data_.records, data_.train, *data_.tokenizer,
                                    {o_.tiles.stages(), o_.tiles.accumulation, static_cast<uint64_t>(a.seed),
                                     domain_.reverse(o_.data), model.backbone().stride()});
        const FillBatch fill = [&](int64_t step, int64_t micro, Batch& batch) { sampler.fill(step, micro, batch); };
        if (o_.profile)
            return void(app_.results = profile_steps(trainer, compute_, o_.tiles.accumulation, fill));
        if (finished(state)) {
            say(fmt::format("{}: the run has finished its {} steps; nothing to do", folder_.path(), state.step));
            return;
        }
        train(model, params, trainer, state, plans, fill);
    }

  private:
    void say(const std::string& text) { app_.console.line(text); }

    // New, from --init, or from the run's last checkpoint.
    TrainerState begin(LanguageModel& model, ParamStore& params, Trainer& trainer) {
        if (!folder_.checkpoint().empty()) {
            check_same_model(model, folder_.checkpoint());
            load_parameters(folder_.checkpoint(), model, params);
            TrainerState state = load_trainer(folder_.checkpoint(), params, trainer.optimizer());
            say(fmt::format("going on after step {} of {}", state.step, folder_.checkpoint()));
            return state;
        }
        if (o_.resume) say(fmt::format("{}: no complete checkpoint, starting at step 0", folder_.path()));
        if (!o_.model.init.empty()) {
            const std::string from = find_checkpoint(o_.model.init, false);
            const std::string warning = check_initial_model(from, model.config(), data_);
            if (!warning.empty()) say(warning);
            load_parameters(from, model, params);
            say("initial weights from " + from);
        } else {
            params.initialise(static_cast<uint64_t>(o_.optimizer.seed));
        }
        return {};
    }

    static void check_same_model(const LanguageModel& model, const std::string& checkpoint) {
        if (const auto was = to_json(load_config(checkpoint)), now = to_json(model.config()); was != now)
            fail("{}/config.json: another architecture than the options say: {} against {}", checkpoint, was.dump(),
                 now.dump());
    }

    bool finished(const TrainerState& state) const {
        return is_step_checkpoint(folder_.checkpoint()) && state.step >= o_.optimizer.steps &&
               (data_.valid.empty() || state.evaluated_step == state.step);
    }

    void train(LanguageModel& model, ParamStore& params, Trainer& trainer, TrainerState& state,
               const std::vector<MemoryPlan>& plans, const FillBatch& fill) {
        const StopSignals signals;
        LoopOptions loop;
        loop.steps = o_.optimizer.steps;
        loop.accumulation = o_.tiles.accumulation;
        loop.eval_every = data_.valid.empty() ? 0 : *o_.eval_every;
        loop.save_every = o_.save_every.value_or(0);
        loop.stop_after = o_.stop_after.value_or(0);
        loop.folder = folder_.path();
        loop.run = run_record(list_, data_, plans.back().tiles.T, machine_);
        if (const std::string change = machine_change(folder_.stored(), loop.run); !change.empty())
            say(fmt::format("going on is exact only to rounding: {}", change));
        folder_.prepare(loop.run);

        RunLog log(app_.console, folder_.path(), state, loop.steps);
        const LearningRate rate{o_.optimizer.lr, loop.steps, o_.optimizer.warmup, o_.optimizer.lr_final};
        const std::vector<LengthStage> stages = o_.tiles.stages();
        std::unique_ptr<SegmentScorer> scorer;
        LoopHooks hooks;
        hooks.stop = &signals.flag();
        hooks.lr = [&](int64_t step) { return learning_rate(rate, step + 1); };
        hooks.plan = [&](int64_t step) -> const MemoryPlan& {
            return plans[static_cast<size_t>(&stage_at(stages, step + 1) - stages.data())];
        };
        hooks.fill = fill;
        log.follow(hooks);
        hooks.on_valid = [&](const ValidRow& r) {
            log.write({.step = r.step, .valid_loss = r.valid_loss});
            say(fmt::format("step {}: held out {:.4f} nats, {:.4f} bits per {} over {} {}s", r.step, r.valid_loss,
                            r.valid_loss / std::numbers::ln2, data_.tokenizer->token(), r.tokens, data_.tokenizer->token()));
        };
        if (!data_.valid.empty()) {
            scorer = std::make_unique<SegmentScorer>(model, compute_, *data_.tokenizer,
                                                     plans.back().evaluation_tile);
            hooks.evaluate = [&](bool whole) {
                const auto part = first_symbols(data_.valid, kPeriodicEvaluationTokens * data_.tokenizer->width());
                HeldOut h;
                h.part = scorer->score(data_.records, part, {}, hooks.stop);
                h.all = h.part;
                if (whole && n_symbols(part) < n_symbols(data_.valid))
                    h.all = scorer->score(data_.records, data_.valid, {}, hooks.stop);
                return h;
            };
        }
        const LoopEnd end = run_training(model, params, trainer, state, loop, hooks);
        log.end(end, state.step, "train");
    }

    App& app_;
    cli::TrainOptions& o_;
    OptionList& list_;
    RunFolder& folder_;
    Machine& machine_;
    Compute compute_;
    const Domain& domain_;
    Dataset data_;
};

}  // namespace

void run_train(App& app, const std::vector<std::string>& args) {
    cli::TrainOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help) return void(app.results = help_text(kText, list));
    apply_defaults(o, list, line.given);
    if (!o.resume) apply_initial_model(o, list, line.given);
    o.resolve();
    if (!o.resume) o.check_scopes(list, line.chosen);
    if (line.print_config) o.machine.show();
    if (line.print_config) return void(app.results = config_text(list));
    if (o.profile && (o.resume || o.overwrite || !o.out.empty()))
        throw UsageError("--profile: writes nothing, so it takes no --out, --resume or --overwrite");
    if (o.profile) o.out = "-";
    if (o.out.empty()) require_all(list);
    Machine machine(o.machine, app.console);
    make_paths_absolute(list);
    check_output_folder(list, "out", o.overwrite);
    RunFolder folder(o.profile ? "" : o.out, o.resume, o.overwrite);
    if (folder.stored().is_null() && o.resume) apply_initial_model(o, list, line.given);
    if (!folder.stored().is_null())
        restore_options(list, folder.stored().at("options"), line.given, folder.path() + "/run.json");
    require_all(list);
    o.check_scopes(list, line.chosen);
    TrainCommand(app, o, list, folder, machine).run();
}

}  // namespace adder
