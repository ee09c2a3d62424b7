#include "train/loop.h"

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
          saved_step_(state.step), saved_evaluation_(state.evaluated_step) {}

    LoopEnd run() {
        trainer_.engine().set_stop_flag(hooks_.stop);
        trainer_.engine().set_verify(true);
        // Left by a run that went further before it was killed; its best may be another one now.
        for (const CheckpointEntry& best : list_checkpoints(o_.folder, CheckpointKind::best))
            if (best.step > state_.best_step) remove_checkpoint(best.path);
        try {
            // A run that was stopped during an evaluation makes up for it, so that it equals one never stopped.
            if (evaluation_due()) evaluate();
            while (state_.step < o_.steps) {
                if (hooks_.stop && hooks_.stop->load()) throw Interrupted{};
                if (o_.stop_after > 0 && state_.step >= o_.stop_after) throw Interrupted{};
                one_step();
                trainer_.engine().set_verify(false);
                if (evaluation_due()) evaluate();
                if (save_due()) save();
            }
        } catch (const Interrupted&) {
            save();
            return LoopEnd::stopped;
        }
        save();
        return LoopEnd::finished;
    }

  private:
    void one_step() {
        const MemoryPlan& plan = hooks_.plan(state_.step);
        trainer_.configure(plan);
        const double lr = hooks_.lr(state_.step);
        const auto begin = Clock::now();
        const StepResult r = trainer_.step(state_.step, o_.accumulation, lr, hooks_.fill);
        const double took = seconds_since(begin);

        if (!r.bad_parameter.empty())
            fail("step {}: the update made {} non-finite; the last good checkpoint is kept; hint: a smaller --lr",
                 state_.step + 1, r.bad_parameter);
        state_.step += 1;
        state_.consumed_batches += o_.accumulation;
        const int64_t read = o_.accumulation * plan.tiles.B * plan.tiles.L;
        state_.tokens += read;
        report(r, lr, static_cast<double>(read) / took);
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

    bool evaluation_due() const {
        if (!hooks_.evaluate || state_.step == 0 || state_.evaluated_step == state_.step) return false;
        return state_.step >= o_.steps || (o_.eval_every > 0 && state_.step % o_.eval_every == 0);
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
        const double part = h.part.loss / h.part.weight;
        if (std::isfinite(part) && (state_.best_step < 0 || part < state_.best_valid_loss)) {
            state_.best_valid_loss = part;
            state_.best_step = state_.step;
            write(CheckpointKind::best);
            prune_checkpoints(o_.folder, CheckpointKind::best, 1);
        }
    }

    bool save_due() const {
        if (state_.step >= o_.steps || state_.bad_in_a_row > 0) return false;
        return o_.save_every > 0 ? state_.step % o_.save_every == 0 : seconds_since(last_save_) >= o_.save_seconds;
    }

    void save() {
        last_save_ = Clock::now();
        if (state_.step == saved_step_ && state_.evaluated_step == saved_evaluation_) return;
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
    int64_t saved_step_, saved_evaluation_;
    Clock::time_point last_save_ = Clock::now();
};

}  // namespace

LoopEnd run_training(LanguageModel& model, ParamStore& params, Trainer& trainer, TrainerState& state,
                     const LoopOptions& options, const LoopHooks& hooks) {
    return Loop(model, params, trainer, state, options, hooks).run();
}

}  // namespace adder
