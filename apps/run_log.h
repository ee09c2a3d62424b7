// What a run says while it goes on: rows of metrics in its folder, progress and words on the console.
#pragma once
#include <chrono>
#include <string>

#include "apps/console.h"
#include "train/loop.h"
#include "train/metrics.h"

namespace adder {

class RunLog {
  public:
    // `state`: of the checkpoint from which the run goes on.
    RunLog(Console& console, const std::string& folder, const TrainerState& state, int64_t steps);

    // Sets on_step, on_word and on_save; the log outlives the hooks.
    void follow(LoopHooks& hooks);
    void write(const EvalMetrics& m);
    // The last line; `command` goes on where the run has stopped.
    void end(LoopEnd end, int64_t step, const char* command);

  private:
    using Clock = std::chrono::steady_clock;

    Console& console_;
    std::string folder_;
    int64_t first_, steps_;
    MetricsLog rows_;
    EventFile events_;
    Clock::time_point began_ = Clock::now();
};

}  // namespace adder
