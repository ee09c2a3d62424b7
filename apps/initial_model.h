// --init: training that starts from the weights of a checkpoint.
#pragma once
#include <set>
#include <string>

#include "apps/train_options.h"
#include "model/config.h"
#include "pipelines/domain.h"

namespace adder {

// Sets the options of the model, and those that decide its tokens, as in the checkpoint of --init (where
// there is one), except those in `given`. Throws Error for a classifier, another domain, other
// tokens, and the first given option of the model that says otherwise.
void apply_initial_model(cli::TrainOptions& options, OptionList& list, const std::set<std::string>& given);

// Throws Error where the classes of `checkpoint` are others than those of the data, and naming the first field
// in which its model is another one than `config`. Returns a warning where its sounds had another sample rate
// than the data, else "".
std::string check_initial_model(const std::string& checkpoint, const ModelConfig& config, const Dataset& data);

}  // namespace adder
