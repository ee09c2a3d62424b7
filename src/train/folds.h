// Dividing labelled examples into folds: classes in equal parts, groups whole, the same for the same seed.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace adder {

// The fold, 0 to n_folds - 1, of every example.
//
// Without groups each fold gets every class's count over n_folds, rounded up or down, and examples in all as evenly as
// the classes allow. With `groups` (one number an example, or empty) all examples of a group are in one fold; groups
// are placed largest first where they keep the classes most even, so parts are only as even as the groups allow. Who is
// dealt where depends on the seed and on the order of the examples. Errors: fewer than n_folds examples, or groups;
// n_folds below 2.
std::vector<int32_t> stratified_folds(std::span<const int32_t> labels, std::span<const int32_t> groups, int32_t n_folds,
                                      uint64_t seed);

// Numbers the different texts 0, 1, ... in the order in which they appear.
std::vector<int32_t> numbered(std::span<const std::string> texts);

}  // namespace adder
