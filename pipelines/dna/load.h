// DNA inputs to records.
#pragma once
#include <string>
#include <vector>

#include "pipelines/domain.h"

namespace adder::dna {

// Domain::load.
Dataset load(const DataOptions& options);

}  // namespace adder::dna
