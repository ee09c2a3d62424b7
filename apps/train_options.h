// Every option of `train` and `plan`, with its default. Grouped by the part of the program that uses it.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "apps/machine.h"
#include "core/batch.h"
#include "core/options.h"
#include "model/config.h"
#include "pipelines/data_options.h"

namespace adder::cli {

// The architecture. What is not given is derived from the rest by the model's own configuration.
struct ModelOptions {
    std::string mixer = ModelConfig{}.mixer;
    int64_t d_model = ModelConfig{}.d_model, layers = ModelConfig{}.n_layer;
    std::string backbone = ModelConfig{}.backbone;
    std::string pool, expand_width, stage_mixers;  // of a U-Net, separated by commas
    std::optional<int64_t> d_state, headdim, dt_rank;
    int64_t expand = ModelConfig{}.expand, d_conv = ModelConfig{}.d_conv, ngroups = ModelConfig{}.ngroups;
    std::string discretization = "euler";
    bool untied_head = false;
    std::string init;

    void add_to(OptionList& list);
    // Throws UsageError for lists that are none, or do not fit each other in a U-Net.
    void check() const;
    void check_stages() const;
    // What --pool is or stands for, and their product: sequences are of a multiple of it. 1 without
    // --backbone unet.
    std::vector<int64_t> pools() const;
    int64_t stride() const;
    // The backbone and the mixers, of which other options are.
    InUse in_use() const;
    // The items of a list "A,B", and those of a list of numbers, none where it is empty. Throws UsageError naming `option`.
    static std::vector<std::string> items(const std::string& list);
    static std::vector<int64_t> numbers(const char* option, const std::string& list);
};

// Sequences a step and how they are cut.
struct TileOptions {
    int64_t length = 1, batch = 1;  // of a run those of its domain, unless they are given
    int64_t accumulation = 1;
    std::string length_warmup;
    std::optional<int64_t> tile, keep;
    std::optional<Bytes> memory;
    bool evaluates = false;  // no option: something is held out, whose scoring takes memory too
    int64_t evaluation_bytes = 0;  // no option: of another evaluation, which the command has itself

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
    std::string out, preset;
    std::optional<int64_t> eval_every, save_every, stop_after;
    bool resume = false, overwrite = false, profile = false;

    OptionList list();
    // The same for `plan`: nothing about where results go.
    OptionList plan_list();
    // Fills in what depends on other options and refuses combinations. Idempotent.
    void resolve();
    // Throws UsageError for one of the `chosen` options that is of another domain, mixer or backbone.
    void check_scopes(const OptionList& list, const std::set<std::string>& chosen) const;

  private:
    void add_groups(OptionList& list);
    void check_lengths() const;
};

}  // namespace adder::cli
