// Options of the commands that give a model classes and use them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/machine.h"
#include "apps/run_options.h"
#include "apps/train_options.h"
#include "pipelines/data_options.h"

namespace adder::cli {

struct FinetuneOptions {
    CheckpointOptions checkpoint;
    DataOptions data;  // what is read; what the model's tokens are is read from the checkpoint
    std::string labels, group;
    double valid_fraction = 0.1;
    std::string pool = "mean";
    bool freeze = false;
    std::optional<double> epochs;
    std::optional<int64_t> steps;
    std::optional<double> lr, head_lr;
    int64_t batch = 32, accumulation = 1;
    double rc_augment = 0;
    std::string class_weights = "none", select = "macro-f1";
    double warmup = 0.1, lr_final = 0.1, weight_decay = 0.1, clip = 1.0;
    int64_t seed = 0;
    std::optional<int64_t> eval_every, save_every, stop_after, tile, keep;
    std::optional<Bytes> memory;
    MachineOptions machine;
    std::string out;
    bool resume = false, overwrite = false, json = false;

    OptionList list();
    // Fills in what depends on other options alone and refuses combinations. Idempotent.
    void resolve();

  private:
    void add_training_to(OptionList& list);
    void add_run_to(OptionList& list);
};

struct PredictOptions {
    CheckpointOptions checkpoint;
    DataOptions data;
    std::string out;
    std::optional<int64_t> batch;
    bool overwrite = false;
    MachineOptions machine;

    OptionList list();
};

}  // namespace adder::cli
