// The training loop: steps, held-out evaluation, checkpoints, stopping and going on.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "train/checkpoint.h"
#include "train/trainer.h"

namespace adder {

// Held-out sums. `part` is over the part that periodic evaluations read, `all` over everything (only when asked for).
struct HeldOut {
    LossSums part, all;
    std::optional<double> criterion = {};  // what the best checkpoint has least of; absent = the loss of `part`
};

struct StepRow {
    int64_t step;         // finished steps, from 1
    double loss;          // nats per counted token; NaN where none counts
    double grad_norm;     // before the clip; not finite where the update was skipped
    double lr;
    int64_t tokens;       // read so far
    double tokens_per_s;  // of this step
};

struct ValidRow {
    int64_t step;
    double valid_loss;  // nats per counted token
    int64_t tokens;     // counted
    bool whole;         // over everything held out
};

struct LoopOptions {
    int64_t steps = 0;
    int64_t accumulation = 1;
    int64_t eval_every = 0;           // steps; 0 = only at the end
    int64_t save_every = 0;           // steps; 0 = every save_seconds
    double save_seconds = 600;
    int64_t stop_after = 0;           // steps; 0 = off
    std::string folder;               // of the run
    nlohmann::json run;               // run.json of every checkpoint
};

struct LoopHooks {
    std::function<double(int64_t step)> lr;
    std::function<const MemoryPlan&(int64_t step)> plan;  // changes with the stages of a length warm-up
    FillBatch fill;
    std::function<int64_t(int64_t step)> tokens;  // of a step; empty = all of its batches, padding included
    std::function<HeldOut(bool whole)> evaluate;          // empty = nothing is held out
    std::function<void(const StepRow&)> on_step;
    std::function<void(const ValidRow&)> on_valid;
    std::function<void(const std::string&)> on_word;      // one line worth telling
    std::function<void()> on_save;                        // before a checkpoint is written; may be empty
    const std::atomic<bool>* stop = nullptr;
};

enum class LoopEnd { finished, stopped };

// Runs from state.step on; `state` is what a resumed checkpoint held. A checkpoint of the last finished step
// is in the folder when this returns; of a run of 0 steps one of the initial model. Throws Error when three
// steps in a row had a non-finite gradient or an update made a parameter non-finite: the last good checkpoint
// is kept. A DeviceError becomes an Error, an OutOfMemory one, that names the last checkpoint.
LoopEnd run_training(LanguageModel& model, ParamStore& params, Trainer& trainer, TrainerState& state,
                     const LoopOptions& options, const LoopHooks& hooks);

}  // namespace adder
