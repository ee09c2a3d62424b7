// Named sets of options of `train`.
#pragma once
#include <set>
#include <string>

#include "apps/train_options.h"

namespace adder {

// Sets what the preset says, where one is named, and then what the domain sets (the first
// one where none is named yet), except options in `given`. Errors: an unknown preset or domain.
void apply_defaults(cli::TrainOptions& options, OptionList& list, const std::set<std::string>& given);

}  // namespace adder
