// From options to objects: what `train`, `plan`, `eval` and `generate` have in common.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "apps/console.h"
#include "apps/machine.h"
#include "apps/train_options.h"
#include "model/model.h"
#include "model/tile_engine.h"
#include "pipelines/domain.h"

namespace adder {

// What was read, kept and dropped goes to the console. Throws Error where one of the command's options would write over a
// file that was read.
void report(Console& console, const Dataset& data, const OptionList& command);
// Also throws Error when no token of the train part counts.
Dataset load_training_data(const DataOptions& options, const Domain& domain, Console& console, const OptionList& command);

ModelConfig model_config(const cli::ModelOptions& options, int64_t vocabulary);
// The options that `config` resolved, so that a run records what it used.
void set_resolved(cli::ModelOptions& options, const ModelConfig& config);

// One plan a stage: the tile of a stage with B_s rows is T B / B_s, so that all stages hold as many tokens. `tile`: of
// the last stage, 0 = what fits. --tile alone means --keep 1.
std::vector<MemoryPlan> stage_plans(LanguageModel& model, const Compute& compute, const cli::TileOptions& options,
                                    int64_t tile);

// What would fit instead of the last stage.
LargestPlans largest_plans_of(LanguageModel& model, const Compute& compute, const cli::TileOptions& options);

// stage_plans for a run that goes on. Its tile decides its bits, so that it is recorded and taken again where
// it fits and no other one is asked for; 0 = none is recorded.
std::vector<MemoryPlan> resumed_plans(LanguageModel& model, const Compute& compute, const cli::TileOptions& options,
                                      int64_t recorded_tile);

// Throws OutOfMemory, with what would fit, when a plan needs more than is free on the GPU: before anything is
// allocated.
void require_room(LanguageModel& model, const Compute& compute, const std::vector<MemoryPlan>& plans);

// Memory by arena, tiles and work, as lines.
std::string plan_text(const LanguageModel& model, const std::vector<MemoryPlan>& plans, int64_t accumulation);

// The options with which a checkpoint was trained, as far as they decide what its tokens are.
DataOptions data_options_of(const std::string& checkpoint);

// `own`, with the options in `model` that decide what a model's tokens are. `source` names them in messages.
DataOptions with_model_options(DataOptions own, const DataOptions& model, const std::string& source);
// For the run.json of a command that has no such options itself: adds them where they are not there, or takes away what
// `list` does not know of them.
void add_model_options(nlohmann::json& options, const DataOptions& model);
nlohmann::json own_options(nlohmann::json stored, OptionList& list);

// A model read from a checkpoint, with parameters and without gradients.
struct LoadedModel {
    LoadedModel(const std::string& checkpoint_or_run, bool best, const Compute& compute = {});
    // Throws Error when the model is a classifier, or is none: with what it can be used for.
    void require_language_model() const;
    void require_classifier() const;
    // What to read, as `own` says, and the options of the model.
    DataOptions reading(DataOptions own) const;

    std::string checkpoint;  // folder
    LanguageModel model;
    ParamStore params;
    // With which it was trained, as far as they decide its tokens; inputs, splits and the like are at their defaults.
    DataOptions data;
    const Domain& domain;
    std::unique_ptr<const Tokenizer> tokenizer;
};

}  // namespace adder
