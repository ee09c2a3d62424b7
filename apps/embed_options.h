// Options of `embed`.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "apps/machine.h"
#include "apps/run_options.h"
#include "core/options.h"
#include "model/embedder.h"
#include "pipelines/data_options.h"

namespace adder::cli {

struct EmbedOptions {
    CheckpointOptions checkpoint;
    DataOptions data;
    std::string out, regions, layer, pool = "mean", rc;
    std::optional<int64_t> tile;
    bool overwrite = false;
    MachineOptions machine;

    OptionList list();
    // Throws UsageError for a --layer that is neither a number nor "all".
    void check() const;
    // What --layer asks of a backbone that shows the streams after `blocks` blocks. Throws Error where it has
    // no such one.
    EmbedderOutputs outputs(int64_t blocks) const;
};

}  // namespace adder::cli
