// Trainer: one optimizer step, from batches to updated parameters. Nothing is allocated once a plan has run its first
// step.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "core/batch.h"
#include "model/tile_engine.h"
#include "train/optimizer.h"

namespace adder {

// Fills micro-batch `micro` of step `step` (both from 0): a function of these two numbers alone.
using FillBatch = std::function<void(int64_t step, int64_t micro, Batch& batch)>;

struct StepResult {
    LossSums sums;              // over all micro-batches
    double grad_norm = 0;       // of the mean gradient, before the clip
    bool updated = false;       // false: no counted token, or a non-finite gradient
    std::string bad_gradient;   // name of the first tensor with a non-finite gradient
    std::string bad_parameter;  // name of the first parameter that the update made non-finite
};

class Trainer {
  public:
    Trainer(LanguageModel& model, ParamStore& params, const OptimizerOptions& options, const Compute& compute,
            const MemoryPlan& plan);

    // Other lengths and batches from the next step on; nothing happens when they are the present ones.
    void configure(const MemoryPlan& plan);
    // Throws Interrupted when the stop flag is set: parameters and optimizer are then as before the call.
    StepResult step(int64_t step, int64_t accumulation, double lr, const FillBatch& fill);

    TileEngine& engine() { return engine_; }
    Optimizer& optimizer() { return optimizer_; }
    void set_meter(OpMeter* meter);

  private:
    ParamStore& params_;
    Optimizer optimizer_;
    TileEngine engine_;
    Batch batch_;
    MemoryPlan plan_;
    Arena scratch_;
    Ctx ctx_;
};

}  // namespace adder
