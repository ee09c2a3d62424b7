// Audio inputs to records.
#pragma once
#include "pipelines/domain.h"

namespace adder::audio {

// Domain::load.
Dataset load(const DataOptions& options);

}  // namespace adder::audio
