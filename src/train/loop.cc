#include "train/loop.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

namespace adder {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

class Loop {
  public:
    Loop(LanguageModel& model, ParamStore& params, Trainer& trainer, TrainerState& state, const LoopOptions& options,
         const LoopHooks& hooks)
        : model_(model), params_(params), trainer_(trainer), state_(state), o_(options), hooks_(hooks),
          submitted_(state.step), saved_step_(is_saved(options.folder, state.step) ? state.step : -1),
          saved_evaluation_(state.evaluated_step) {}

    LoopEnd run() {
        trainer_.engine().set_stop_flag(hooks_.stop);
        trainer_.engine().set_verify(true);
        // Left by a run that went further before it was killed; its best may be another one now.
        for (const CheckpointEntry& best : list_checkpoints(o_.folder, CheckpointKind::best))
            if (best.step > state_.best_step) remove_checkpoint(best.path);
        try {
            return run_steps();
        } catch (const DeviceError& e) {
            // Nothing on the device is trusted any more: what is left is said, and nothing saved.
            throw Error(with_last_checkpoint(e));
        } catch (const OutOfMemory& e) {
            // In the middle of a step, of which a part may be done.
            throw OutOfMemory(with_last_checkpoint(e));
        }
    }

  private:
    std::string with_last_checkpoint(const Error& e) const {
        const std::string last = last_checkpoint(o_.folder);
        return fmt::format("step {}: {}; {}", state_.step + 1, e.what(),
                           last.empty() ? "there is no checkpoint yet" : "the last checkpoint is " + last);
    }

    // What was submitted and not yet collected: at most as much as the trainer allows.
    struct Submitted {
        double lr;
        int64_t tokens;
    };

    // Whether the run has a checkpoint of this step: one that goes on from its best has none. Of the beginning none is due.
    static bool is_saved(const std::string& folder, int64_t step) {
        const auto found = list_checkpoints(folder, CheckpointKind::step);
        return step == 0 || std::any_of(found.begin(), found.end(), [&](const auto& c) { return c.step == step; });
    }

    LoopEnd run_steps() {
        try {
            // A run that was stopped during an evaluation makes up for it, so that it equals one never stopped.
            if (evaluation_due(state_.step)) evaluate();
            // One that was killed after its best was written, before the step's own checkpoint was, writes that now.
            if (saved_step_ < 0 && save_due(state_.step)) save();
            while (submitted_ < o_.steps) {
                if (hooks_.stop && hooks_.stop->load()) throw Interrupted{};
                if (o_.stop_after > 0 && submitted_ >= o_.stop_after) throw Interrupted{};
                submit();
                trainer_.engine().set_verify(false);
                // On a GPU a step is reported while the next one runs.
                const bool wait = evaluation_due(submitted_) || save_due(submitted_);
                collect_until(trainer_.compute().device == Device::cpu || wait ? 0 : 1);
                if (!wait) continue;
                if (evaluation_due(state_.step)) evaluate();
                if (save_due(state_.step)) save();
            }
            collect_until(0);
        } catch (const Interrupted&) {
            collect_until(0);
            save();
            return LoopEnd::stopped;
        }
        save();
        return LoopEnd::finished;
    }

    void submit() {
        const MemoryPlan& plan = hooks_.plan(submitted_);
        if (!(plan.tiles == tiles_)) collect_until(0);
        tiles_ = plan.tiles;
        Submitted& s = under_way_[static_cast<size_t>(submitted_) % under_way_.size()];
        const int64_t whole = o_.accumulation * plan.tiles.B * plan.tiles.L;
        s = {hooks_.lr(submitted_), hooks_.tokens ? hooks_.tokens(submitted_) : whole};
        trainer_.configure(plan);
        // Of another plan is a step whose batches have another size.
        const int64_t next = submitted_ + 1;
        const bool follows = next < o_.steps && hooks_.plan(next).tiles == plan.tiles;
        trainer_.submit(submitted_, o_.accumulation, s.lr, hooks_.fill, follows);
        submitted_ += 1;
    }

    void collect_until(int64_t pending) {
        while (trainer_.pending() > pending) {
            const StepResult r = trainer_.collect();
            if (!r.bad_parameter.empty())
                fail("step {}: the update made {} non-finite; the last good checkpoint is kept; hint: a smaller --lr",
                     state_.step + 1, r.bad_parameter);
            const Submitted& s = under_way_[static_cast<size_t>(state_.step) % under_way_.size()];
            state_.step += 1;
            state_.consumed_batches += o_.accumulation;
            state_.tokens += s.tokens;
            report(r, s.lr, 1e3 * static_cast<double>(s.tokens) / (r.ms + r.idle_ms));
        }
    }

    void report(const StepResult& r, double lr, double tokens_per_s) {
        const double mean = r.sums.weight > 0 ? r.sums.loss / r.sums.weight : std::nan("");
        hooks_.on_step({state_.step, mean, r.grad_norm, lr, state_.tokens, tokens_per_s});
        if (!r.bad_gradient.empty()) {
            state_.bad_in_a_row += 1;
            hooks_.on_word(fmt::format("step {}: the gradient of {} is not finite; the update is skipped ({} in a row)",
                                       state_.step, r.bad_gradient, state_.bad_in_a_row));
            if (state_.bad_in_a_row >= 3)
                fail("step {}: three steps in a row with a non-finite gradient, first in {}; the last good checkpoint is "
                     "kept; hint: a smaller --lr or a longer --warmup",
                     state_.step, r.bad_gradient);
            return;
        }
        state_.bad_in_a_row = 0;
        if (!r.updated)
            hooks_.on_word(fmt::format("step {}: no token counts (all N, padding or masked); the update is skipped",
                                       state_.step));
    }

    bool evaluation_due(int64_t step) const {
        if (!hooks_.evaluate || (step == 0 && o_.steps > 0) || state_.evaluated_step == step) return false;
        return step >= o_.steps || (o_.eval_every > 0 && step % o_.eval_every == 0);
    }

    void evaluate() {
        const bool whole = state_.step >= o_.steps;
        const HeldOut h = hooks_.evaluate(whole);
        const LossSums& sums = whole ? h.all : h.part;
        state_.evaluated_step = state_.step;
        if (sums.weight == 0) {
            hooks_.on_word("nothing held out counts (all N): no held-out loss");
            return;
        }
        hooks_.on_valid({state_.step, sums.loss / sums.weight, static_cast<int64_t>(sums.weight), whole});
        // The part is the same at every evaluation, so that the comparison is fair.
        const double criterion = h.criterion.value_or(h.part.loss / h.part.weight);
        if (std::isfinite(criterion) && (state_.best_step < 0 || criterion < state_.best_criterion)) {
            state_.best_criterion = criterion;
            state_.best_step = state_.step;
            write(CheckpointKind::best);
            prune_checkpoints(o_.folder, CheckpointKind::best, 1);
        }
    }

    bool save_due(int64_t step) const {
        if (step >= o_.steps || state_.bad_in_a_row > 0) return false;
        return o_.save_every > 0 ? step % o_.save_every == 0 : seconds_since(last_save_) >= o_.save_seconds;
    }

    void save() {
        last_save_ = Clock::now();
        const bool is_initial_model = o_.steps == 0;  // asked for: there is nothing else to save
        if (state_.step == saved_step_ && state_.evaluated_step == saved_evaluation_ && !is_initial_model) return;
        write(CheckpointKind::step);
        prune_checkpoints(o_.folder, CheckpointKind::step, 2);
        saved_step_ = state_.step;
        saved_evaluation_ = state_.evaluated_step;
    }

    void write(CheckpointKind kind) {
        if (hooks_.on_save) hooks_.on_save();
        save_checkpoint(o_.folder + "/" + checkpoint_name(kind, state_.step), model_, params_, trainer_.optimizer(),
                        state_, o_.run);
    }

    LanguageModel& model_;
    ParamStore& params_;
    Trainer& trainer_;
    TrainerState& state_;
    const LoopOptions& o_;
    const LoopHooks& hooks_;
    int64_t submitted_;
    TileOptions tiles_;  // of the last submitted step
    std::array<Submitted, Trainer::kMostPending + 1> under_way_{};  // by step
    int64_t saved_step_, saved_evaluation_;
    Clock::time_point last_save_ = Clock::now();
};

}  // namespace

LoopEnd run_training(LanguageModel& model, ParamStore& params, Trainer& trainer, TrainerState& state,
                     const LoopOptions& options, const LoopHooks& hooks) {
    return Loop(model, params, trainer, state, options, hooks).run();
}

}  // namespace adder
