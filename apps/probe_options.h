// Options of `adder probe`.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "apps/machine.h"
#include "core/options.h"

namespace adder::cli {

struct ProbeOptions {
    std::string embeddings, labels, regions, group, confusion;
    std::vector<std::string> sequences, compare;
    int64_t folds = 5, seed = 0, most_k = 6;
    bool overwrite = false, json = false;
    MachineOptions machine;

    OptionList list();
    // Throws UsageError for options that do not go together.
    void check() const;
    // NAME and FILE of every --compare. Throws UsageError.
    std::vector<std::pair<std::string, std::string>> compared() const;
};

}  // namespace adder::cli
