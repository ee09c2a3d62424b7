// The table of `train --profile`: every op of a step with its calls, its time inside the step and its time alone.
#pragma once
#include <string>
#include <vector>

#include "kernels/common/run_op.h"
#include "train/trainer.h"

namespace adder {

class Profile : public OpMeter {
  public:
    struct Row {
        OpCall call;
        int64_t calls = 0;
        double in_step_s = 0;   // sum over the calls
        double isolated_s = 0;  // best of the repetitions of one call by itself
        int64_t scratch_bytes = 0;
        std::function<void(Ctx&, void*)> rerun;
    };
    void planned(const OpCall&) override {}
    void ran(const OpCall& call, double seconds, int64_t scratch_bytes,
             std::function<void(Ctx&, void*)> rerun) override;

    // Repeats each distinct op alone, on the arguments of its last call: contents of activations and gradients are
    // spoiled, so nothing may be trained afterwards. `ctx` has no meter.
    void measure_isolated(Ctx& ctx, int repetitions);
    // As text, slowest first, with the share of `step_s` that calls x isolated time explains in the last line.
    std::string table(double step_s) const;

  private:
    std::vector<Row> rows_;
};

// The table for one step, after warm-up: the step is timed without the meter, then once with it, then every op alone.
std::string profile_steps(Trainer& trainer, const Compute& compute, int64_t accumulation, const FillBatch& fill);

}  // namespace adder
