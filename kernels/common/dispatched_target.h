#pragma once
#include <cstdint>

namespace adder {

// Highway's number of the target whose code runs. Asked of the dispatch itself: hwy::SupportedTargets, in the versions that
// Debian 12 and Ubuntu 24.04 have, also sets the choice back to the best target.
int64_t dispatched_target();

}  // namespace adder
