// Checkpoints. A run folder holds step-NNNNNNNN/ folders (the last two) and best-NNNNNNNN/ (the lowest held-out loss, or
// what a run takes for it); each holds
//   model.safetensors    master weights, F32, in the tensor names and shapes of state-spaces/mamba
//   config.json          the architecture, in the keys of state-spaces/mamba
//   trainer.safetensors  optimizer moments, step and data cursor; the seed is one of the options
//   run.json             options, program, device, digests of the data
//   DONE                 written last; a folder without it is ignored
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "model/model.h"
#include "model/params.h"
#include "train/optimizer.h"

namespace adder {

// Version of the folder's layout; a reader refuses any other.
inline constexpr int64_t kCheckpointLayout = 1;

// What a run needs beside weights and moments to go on as if it had never stopped.
struct TrainerState {
    int64_t step = 0;            // finished steps; batches are a function of (seed, step) alone
    int64_t consumed_batches = 0;  // the data cursor: micro-batches trained on, never prefetched ones
    int64_t tokens = 0;          // read so far
    int64_t bad_in_a_row = 0;    // steps skipped for a non-finite gradient
    double best_criterion = 0;   // of best_step: the held-out loss unless the run says otherwise; the least is the best
    int64_t best_step = -1;      // -1 = not evaluated yet
    int64_t evaluated_step = -1;  // of the last finished evaluation
};

// Writes folder `path` whole or not at all. Errors name path, reason and remedy.
void save_checkpoint(const std::string& path, const LanguageModel& model, const ParamStore& params,
                     const Optimizer& optimizer, const TrainerState& state, const nlohmann::json& run);

enum class CheckpointKind { step, best };
std::string checkpoint_name(CheckpointKind kind, int64_t step);  // "step-00000012"
// Whether a folder of this name in a run is a checkpoint of either kind.
bool is_checkpoint_name(std::string_view name);

struct CheckpointEntry {
    int64_t step;
    std::string path;
};
// Complete checkpoints of a run folder, oldest first.
std::vector<CheckpointEntry> list_checkpoints(const std::string& run_folder, CheckpointKind kind);
// The newest complete checkpoint of a run folder, whichever kind it is of; of one step its own. "" = there is none.
std::string last_checkpoint(const std::string& run_folder);
// Whether a path is of the checkpoint that a run writes of a step, and not of the best.
bool is_step_checkpoint(const std::string& checkpoint);
// `path` is a checkpoint folder or a run folder; gives the checkpoint folder (the last, or the best). Throws Error
// saying what is there instead; where that is a damaged checkpoint it names another one of the run that can be used.
std::string find_checkpoint(const std::string& path, bool best);
// The last checkpoint of a run that has a trainer's state, to go on from; "" = there is none. Throws Error where that is damaged: names the one
// before it that is not.
std::string find_resumable(const std::string& run_folder);
void remove_checkpoint(const std::string& folder);
// Deletes complete checkpoints but the newest `keep`.
void prune_checkpoints(const std::string& run_folder, CheckpointKind kind, int64_t keep);

// Deletes checkpoints without DONE: half deleted ones of a killed run.
void remove_incomplete_checkpoints(const std::string& run_folder);

ModelConfig load_config(const std::string& checkpoint);
// run.json of a run or a checkpoint; it has the objects `options` and `data`, and what is read of them and of itself has
// its type. Throws Error naming the file and the key, or the layout where that is not kCheckpointLayout.
nlohmann::json load_run(const std::string& folder);
// Compares all names, types and shapes and throws one Error that lists every mismatch.
void load_parameters(const std::string& checkpoint, const LanguageModel& model, ParamStore& params);
// The weights of a model to whose backbone a new head is given; heads in the file are left aside.
void load_backbone(const std::string& checkpoint, ParamStore& params);
// The counters alone: what a description of a run needs.
TrainerState load_trainer_state(const std::string& checkpoint);
TrainerState load_trainer(const std::string& checkpoint, const ParamStore& params, Optimizer& optimizer);

}  // namespace adder
