// Every option of `train` and `plan`, with its default. Grouped by the part of the program that uses it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/machine.h"
#include "core/options.h"
#include "model/config.h"
#include "pipelines/data_options.h"
#include "train/schedule.h"

namespace adder::cli {

// The architecture. What is not given is derived from the rest by the model's own configuration.
struct ModelOptions {
    std::string mixer = ModelConfig{}.mixer;
    int64_t d_model = ModelConfig{}.d_model, layers = ModelConfig{}.n_layer;
    std::optional<int64_t> d_state, headdim, dt_rank;
    int64_t expand = ModelConfig{}.expand, d_conv = ModelConfig{}.d_conv, ngroups = ModelConfig{}.ngroups;
    std::string discretization = "euler";
    std::string init;

    void add_to(OptionList& list);
};

// Sequences a step and how they are cut.
struct TileOptions {
    int64_t length = 4096, batch = 2, accumulation = 1;
    std::string length_warmup;
    std::optional<int64_t> tile, keep;
    std::optional<Bytes> memory;

    void add_to(OptionList& list);
    // The stages of --length-warmup "UNTIL:L,UNTIL:L" and the final (length, batch). Throws UsageError.
    std::vector<LengthStage> stages() const;
};

struct OptimizerOptions {
    int64_t steps = 1000;
    double lr = 1e-3, warmup = 0.1, lr_final = 0.1;
    double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1, clip = 1.0;
    int64_t seed = 0;

    void add_to(OptionList& list);
};

struct TrainOptions {
    DataOptions data;
    ModelOptions model;
    TileOptions tiles;
    OptimizerOptions optimizer;
    MachineOptions machine;
    std::string out;
    std::optional<int64_t> eval_every, save_every, stop_after;
    bool resume = false, overwrite = false, profile = false;

    OptionList list();
    // The same for `plan`: nothing about where results go.
    OptionList plan_list();
    // Fills in what depends on other options and refuses combinations. Idempotent.
    void resolve();

  private:
    void add_groups(OptionList& list);
};

}  // namespace adder::cli
