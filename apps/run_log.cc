#include "apps/run_log.h"

#include <fmt/format.h>

namespace adder {

RunLog::RunLog(Console& console, const std::string& folder, const TrainerState& state, int64_t steps)
    : console_(console), folder_(folder), first_(state.step), steps_(steps),
      rows_(folder, state.step, state.evaluated_step), events_(folder, state.step) {}

void RunLog::follow(LoopHooks& hooks) {
    hooks.on_word = [this](const std::string& word) { console_.line(word); };
    hooks.on_save = [this] { rows_.sync(); };
    hooks.on_step = [this](const StepRow& r) {
        const StepMetrics m{r.step, r.loss, r.grad_norm, r.lr, r.tokens, r.tokens_per_s};
        rows_.write(m);
        events_.write(m);
        const double spent = std::chrono::duration<double>(Clock::now() - began_).count();
        const auto done = static_cast<double>(r.step - first_);
        console_.progress({r.step, steps_, r.loss, r.tokens_per_s, spent / done * static_cast<double>(steps_ - r.step)});
    };
}

void RunLog::write(const EvalMetrics& m) {
    rows_.write(m);
    events_.write(m);
}

void RunLog::end(LoopEnd end, int64_t step, const char* command) {
    console_.finish_line();
    if (end == LoopEnd::stopped)
        console_.line(fmt::format("stopped after step {} of {}; go on with: adder {} --out {} --resume", step, steps_,
                                  command, folder_));
    else
        console_.line(fmt::format("finished {} steps: {}", step, folder_));
}

}  // namespace adder
