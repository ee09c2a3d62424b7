// Labels of records as class tokens.
#pragma once
#include <vector>

#include "pipelines/domain.h"

namespace adder::audio {

// Fills in `data.classes`, `data.tokenizer` and, with --class-conditional, the class tokens of `data.records`
// and `held_out`. `options` are resolved. The classes are those of a checkpoint, where the options have them,
// else the labels of the records, sorted. Errors: records without a label, held-out ones with a label that no
// other record has; with the classes of a checkpoint both are a warning, and the records have no class token.
void give_classes(const DataOptions& options, Dataset& data, std::vector<TokenRecord>& held_out);

// Throws Error for a class that is held out and not trained on: its token would mean nothing. For what is
// trained on; not with the classes of a checkpoint.
void check_classes(const Dataset& data);

}  // namespace adder::audio
