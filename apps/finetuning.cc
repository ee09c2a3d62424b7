#include "apps/finetuning.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "apps/classification_report.h"
#include "apps/confusion_svg.h"
#include "apps/labelled_data.h"
#include "apps/record_classifier.h"
#include "apps/run_log.h"
#include "apps/scoring.h"
#include "apps/setup.h"
#include "apps/signals.h"
#include "core/json_text.h"
#include "train/schedule.h"

namespace adder {

namespace {

constexpr const char* kResultFile = "/classification.json";

class Finetuning {
  public:
    Finetuning(App& app, cli::FinetuneOptions& options, OptionList& list, RunFolder& folder, Machine& machine)
        : app_(app), o_(options), list_(list), folder_(folder), machine_(machine), compute_(machine.compute()),
          // A run that goes on needs nothing but itself.
          source_(folder.checkpoint().empty() ? find_checkpoint(o_.checkpoint.checkpoint, o_.checkpoint.best)
                                              : folder.checkpoint()),
          model_data_(data_options_of(source_)), domain_(find_domain(model_data_.domain)) {}

    void check_scopes(const std::set<std::string>& chosen) const {
        adder::check_scopes(list_, chosen, model_data_.in_use());
    }

    void run() {
        d_ = load_labelled(domain_, with_model_options(o_.data, model_data_, source_),
                           {o_.labels, o_.group, o_.valid_fraction, seed()}, app_.console, list_);
        folder_.check_data(d_.data);
        if (d_.valid.empty() && d_.test.empty())
            say("warning: nothing is held out, as there are too few records of a class: no accuracy is measured");
        weigh_classes();
        LanguageModel model(classifier_config());
        if (o_.freeze) model.freeze_backbone();
        MemberSampler sampler(d_.data.records, d_.train, *d_.data.tokenizer,
                              {o_.batch, o_.accumulation, seed(), o_.rc_augment, model.backbone().stride()});
        if (!o_.steps) o_.steps = sampler.steps_of(*o_.epochs);
        if (!o_.eval_every) o_.eval_every = sampler.steps_of(1);
        const auto [plan, tokens] = plan_with_evaluation(model, tile_options(sampler));
        say(plan_text(model, {plan}, o_.accumulation));
        require_room(model, compute_, {plan});
        ParamStore params([&](ParamVisitor& v) { model.visit(v); }, compute_.storage, true, compute_.device);
        Trainer trainer(model, params, optimizer_options(), compute_, plan);
        TrainerState state = begin(model, params, trainer);
        if (finished(state)) {
            say(fmt::format("{}: the run has finished its {} steps; nothing to do", folder_.path(), state.step));
            return;
        }
        const StopSignals signals;
        RecordClassifier classifier(model, compute_, *d_.data.tokenizer, tokens);
        if (train(model, params, trainer, state, plan, sampler, classifier, signals) != LoopEnd::finished) return;
        try {
            conclude(model, params, state, classifier, signals);
        } catch (const Interrupted&) {
            say(fmt::format("stopped before the results were written; go on with: adder finetune --out {} --resume",
                            folder_.path()));
        }
    }

  private:
    void say(const std::string& text) { app_.console.line(text); }
    uint64_t seed() const { return static_cast<uint64_t>(o_.seed); }
    int64_t n_classes() const { return static_cast<int64_t>(d_.classes.size()); }

    ModelConfig classifier_config() const {
        ModelConfig c = load_config(source_);
        c.classes = d_.classes;
        c.pool = pool_kind_of(o_.pool, "--pool");
        return c;
    }

    // All classes the same together: n / (C n_c) a record.
    void weigh_classes() {
        if (o_.class_weights != "balanced") return;
        std::vector<int64_t> count(d_.classes.size());
        for (const LabelledRecord& r : d_.train) ++count[r.label];
        for (LabelledRecord& r : d_.train)
            r.weight = static_cast<float>(static_cast<double>(d_.train.size()) /
                                          (static_cast<double>(n_classes()) * static_cast<double>(count[r.label])));
    }

    cli::TileOptions tile_options(const MemberSampler& sampler) const {
        cli::TileOptions tiles;
        tiles.length = sampler.length();
        tiles.batch = sampler.rows();
        tiles.accumulation = o_.accumulation;
        tiles.tile = o_.tile;
        tiles.keep = o_.keep;
        tiles.memory = o_.memory;
        return tiles;
    }

    // Training, and the tokens that evaluations compute at a time: the more the faster, as long as tiles stay as long.
    std::pair<MemoryPlan, int64_t> plan_with_evaluation(LanguageModel& model, cli::TileOptions tiles) const {
        constexpr int64_t kFewest = 1024;
        const int64_t recorded = folder_.stored().is_null() ? 0 : folder_.stored().value("tile", int64_t{0});
        std::vector<int64_t> which;
        for (const auto* part : {&d_.valid, &d_.test})
            for (const LabelledRecord& r : *part) which.push_back(r.record);
        const auto with = [&](int64_t tokens) {
            tiles.evaluation_bytes = RecordClassifier::planned_bytes(model, compute_, *d_.data.tokenizer, tokens,
                                                                     d_.data.records, which);
            return resumed_plans(model, compute_, tiles, recorded).front();
        };
        const MemoryPlan least = with(kFewest);
        const int64_t most = score_tile(compute_.device, model.config());
        for (int64_t tokens = std::min(least.tiles.B * least.tiles.T / 4, most); tokens > kFewest; tokens /= 2) {
            try {
                if (const MemoryPlan plan = with(tokens); plan.tiles.T == least.tiles.T) return {plan, tokens};
            } catch (const OutOfMemory&) {
                continue;  // fewer may fit
            }
        }
        return {least, kFewest};
    }

    OptimizerOptions optimizer_options() const {
        OptimizerOptions a;
        a.weight_decay = o_.weight_decay;
        a.clip = o_.clip;
        a.head_rate = *o_.head_lr / *o_.lr;
        return a;
    }

    TrainerState begin(LanguageModel& model, ParamStore& params, Trainer& trainer) {
        if (!folder_.checkpoint().empty()) {
            load_parameters(source_, model, params);
            TrainerState state = load_trainer(source_, params, trainer.optimizer());
            say(fmt::format("going on after step {} of {}", state.step, source_));
            return state;
        }
        if (o_.resume) say(fmt::format("{}: no complete checkpoint, starting at step 0", folder_.path()));
        params.initialise(seed());
        load_backbone(source_, params);
        say(fmt::format("weights from {}, a new head for {} classes", source_, n_classes()));
        return {};
    }

    bool finished(const TrainerState& state) const {
        return is_step_checkpoint(folder_.checkpoint()) && state.step >= *o_.steps &&
               (d_.valid.empty() || state.evaluated_step == state.step) && concluded(state);
    }

    // Whether the results are those of this step: a run may have been killed between its last step and them.
    bool concluded(const TrainerState& state) const {
        const std::string path = folder_.path() + kResultFile;
        std::error_code ignored;
        if (!std::filesystem::exists(path, ignored)) return false;
        const nlohmann::json json = nlohmann::json::parse(read_file(path), nullptr, false);
        // Older runs have no "steps".
        return json.is_object() && json.value("steps", state.step) == state.step;
    }

    // run.json: that of `train`, with the options of the model that was given, so that it is read as one.
    nlohmann::json record(const MemoryPlan& plan) {
        d_.data.classes = model_data_.classes;
        nlohmann::json run = run_record(list_, d_.data, plan.tiles.T, machine_);
        add_model_options(run["options"], model_data_);
        if (!d_.valid.empty()) run["best_by"] = best_by();
        return run;
    }
    const char* best_by() const { return o_.select == "mcc" ? "mcc" : "macro_f1"; }

    Scored score(const std::vector<LabelledRecord>& part, RecordClassifier& classifier, const std::atomic<bool>& stop) const {
        std::vector<int64_t> which;
        for (const LabelledRecord& r : part) which.push_back(r.record);
        return score_classes(part, classifier.classify(d_.data.records, which, &stop), n_classes());
    }

    LoopEnd train(LanguageModel& model, ParamStore& params, Trainer& trainer, TrainerState& state, const MemoryPlan& plan,
                  MemberSampler& sampler, RecordClassifier& classifier, const StopSignals& signals) {
        LoopOptions loop;
        loop.steps = *o_.steps;
        loop.accumulation = o_.accumulation;
        loop.eval_every = *o_.eval_every;
        loop.save_every = o_.save_every.value_or(0);
        loop.stop_after = o_.stop_after.value_or(0);
        loop.folder = folder_.path();
        loop.run = record(plan);
        if (const std::string change = machine_change(folder_.stored(), loop.run); !change.empty())
            say(fmt::format("going on is exact only to rounding: {}", change));
        folder_.prepare(loop.run);
        RunLog log(app_.console, folder_.path(), state, loop.steps);
        const LearningRate rate{*o_.lr, loop.steps, o_.warmup, o_.lr_final};
        LoopHooks hooks;
        log.follow(hooks);
        hooks.stop = &signals.flag();
        hooks.lr = [&](int64_t step) { return learning_rate(rate, step + 1); };
        hooks.plan = [&](int64_t) -> const MemoryPlan& { return plan; };
        hooks.fill = [&](int64_t step, int64_t micro, Batch& batch) { sampler.fill(step, micro, batch); };
        hooks.tokens = [&](int64_t step) { return sampler.tokens_in(step); };
        Scored last;
        if (!d_.valid.empty())
            hooks.evaluate = [&](bool) {
                last = score(d_.valid, classifier, signals.flag());
                const LossSums sums{last.nats, static_cast<double>(d_.valid.size())};
                const double chosen = o_.select == "mcc" ? last.metrics.mcc : last.metrics.macro_f1;
                // Of equal scores the one with the lower loss.
                return HeldOut{sums, sums, 1 - chosen + 1e-6 * std::tanh(sums.loss / sums.weight)};
            };
        hooks.on_valid = [&](const ValidRow& r) {
            const ClassificationMetrics& m = last.metrics;
            log.write({r.step, r.valid_loss, m.accuracy, m.macro_f1, m.mcc});
            say(fmt::format("step {}: valid loss {:.4f} nats, {} over {} records", r.step, r.valid_loss, metrics_text(m), m.n));
        };
        const LoopEnd end = run_training(model, params, trainer, state, loop, hooks);
        log.end(end, state.step, "finetune");
        return end;
    }

    // What the best checkpoint, or else the last, does on what it was not trained on.
    void conclude(LanguageModel& model, ParamStore& params, const TrainerState& state, RecordClassifier& classifier,
                  const StopSignals& signals) {
        const std::vector<LabelledRecord>& part = !d_.test.empty() ? d_.test : d_.valid;
        nlohmann::ordered_json json = {{"classes", d_.classes}, {"step", state.step}};
        if (!part.empty()) {
            if (state.best_step >= 0) load_parameters(find_checkpoint(folder_.path(), true), model, params);
            const Scored scored = score(part, classifier, signals.flag());
            json = metrics_json(scored, d_.classes);
            json["on"] = d_.test.empty() ? "valid" : "test";
            json["step"] = state.best_step >= 0 ? state.best_step : state.step;
            write_file(folder_.path() + "/confusion.svg", confusion_svg(d_.classes, scored.metrics.confusion));
            app_.results = fmt::format("{} over {} {} records, at step {}\n", metrics_text(scored.metrics), part.size(),
                                       json["on"].get<std::string>(), json["step"].get<int64_t>());
        }
        json["steps"] = state.step;
        write_file(folder_.path() + kResultFile, json_text(json) + "\n");
        if (o_.json) app_.results = json_text(json) + "\n";
    }

    App& app_;
    cli::FinetuneOptions& o_;
    OptionList& list_;
    RunFolder& folder_;
    Machine& machine_;
    Compute compute_;
    std::string source_;
    DataOptions model_data_;
    const Domain& domain_;
    LabelledData d_;
};

}  // namespace

void finetune(App& app, cli::FinetuneOptions& options, OptionList& list, const std::set<std::string>& chosen,
              RunFolder& folder, Machine& machine) {
    Finetuning f(app, options, list, folder, machine);
    f.check_scopes(chosen);
    f.run();
}

}  // namespace adder
