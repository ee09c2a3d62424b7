// Trainer: one optimizer step, from batches to updated parameters. Nothing is allocated once a plan has run its first
// steps.
//
// On a GPU a step is submitted without waiting for it, and its numbers are collected later; the host makes the next batch
// meanwhile. On the CPU `submit` computes.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "model/tile_engine.h"
#include "train/batch_feed.h"
#include "train/optimizer.h"

namespace adder {

struct StepResult {
    LossSums sums;              // over all micro-batches
    double grad_norm = 0;       // of the mean gradient, before the clip
    bool updated = false;       // false: no counted token, or a non-finite gradient
    std::string bad_gradient;   // name of the first tensor with a non-finite gradient
    std::string bad_parameter;  // name of the first parameter that the update made non-finite
    double ms = 0;       // from the first to the last of the step's work, on the device
    double idle_ms = 0;  // that the device waited before it for the host or the batch; 0 after steps were
                         // collected to the last
};

class Trainer {
  public:
    // Steps that may be submitted and not yet collected.
    static constexpr int64_t kMostPending = 3;

    // Memory of the device is allocated once, for `plan` and for the plans that `configure` will be given.
    Trainer(LanguageModel& model, ParamStore& params, const OptimizerOptions& options, const Compute& compute,
            const MemoryPlan& plan, std::span<const MemoryPlan> later = {});

    // Other lengths and batches from the next step on; nothing happens when they are the present ones. No step may be
    // pending.
    void configure(const MemoryPlan& plan);
    // `fill` is called inside this call only: for the micro-batches of this step, and on a GPU for the first
    // one of the next step too if that is `follows`: of the same plan. Throws Interrupted when the stop flag
    // is set: parameters and optimizer are then as if this step had not been submitted.
    void submit(int64_t step, int64_t accumulation, double lr, const FillBatch& fill, bool follows = true);
    // The oldest submitted step, when it is done. Throws DeviceError when the GPU failed or found a fault in
    // its data.
    StepResult collect();
    int64_t pending() const { return submitted_ - collected_; }
    StepResult step(int64_t step, int64_t accumulation, double lr, const FillBatch& fill) {
        submit(step, accumulation, lr, fill);
        return collect();
    }

    const Compute& compute() const { return compute_; }
    TileEngine& engine() { return engine_; }
    Optimizer& optimizer() { return optimizer_; }
    void set_meter(OpMeter* meter);

  private:
    // What goes to the GPU with a step and what comes back, in page-locked memory.
    struct Letter {
        double lr;
        UpdateRecord record;
        FaultWord fault;
    };
    // One step under way.
    struct Place {
        StepResult result;  // on the CPU
        std::unique_ptr<Event> begin, end;
        bool follows = false;  // on a step that was pending when this one was submitted
    };
    void submit_on_cpu(int64_t step, int64_t accumulation, double lr, const FillBatch& fill);
    void submit_on_gpu(int64_t step, int64_t accumulation, double lr, const FillBatch& fill);
    void reserve_feed(int64_t bytes);
    Letter& letter(int64_t i) { return letters_.as<Letter>()[i % kPlaces]; }
    Place& place(int64_t i) { return places_[static_cast<size_t>(i % kPlaces)]; }

    // A step's end is still read when the next one is collected.
    static constexpr int64_t kPlaces = kMostPending + 1;

    Compute compute_;
    ParamStore& params_;
    TokenRange range_;
    Optimizer optimizer_;
    TileEngine engine_;
    MemoryPlan plan_;
    Arena scratch_;
    Ctx ctx_;
    Tensor sums_;  // of the present step
    Batch batch_;                      // on the CPU
    std::unique_ptr<BatchFeed> feed_;  // on a GPU
    GraphCache graphs_;
    PinnedMemory letters_;
    std::array<Place, kPlaces> places_;
    int64_t submitted_ = 0, collected_ = 0;
};

}  // namespace adder
