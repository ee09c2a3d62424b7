// Fine-tuning: a member head on a trained model, and the model with it.
#pragma once
#include <set>
#include <string>

#include "apps/app.h"
#include "apps/finetune_options.h"
#include "apps/machine.h"
#include "apps/run_folder.h"

namespace adder {

// Trains into `folder`, or goes on there. What the best checkpoint does on the test records, or else on the valid ones,
// ends up in the folder (classification.json, confusion.svg) and in app.results. `list` is that of `options`, complete.
// Throws UsageError for one of the `chosen` options that is of another domain than the model.
void finetune(App& app, cli::FinetuneOptions& options, OptionList& list, const std::set<std::string>& chosen,
              RunFolder& folder, Machine& machine);

}  // namespace adder
