// Options of the commands that use a checkpoint, and of those that measure or check the program itself.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/machine.h"
#include "core/options.h"
#include "pipelines/data_options.h"

namespace adder::cli {

struct CheckpointOptions {
    std::string checkpoint;
    bool best = false;

    void add_to(OptionList& list, bool required);
};

struct EvalOptions {
    CheckpointOptions checkpoint;
    DataOptions data;
    std::string part;
    std::string per_record, baselines;
    std::optional<int64_t> tile;
    std::optional<double> mask_weight;
    bool overwrite = false, json = false;
    MachineOptions machine;

    OptionList list();
    // The context orders of --baselines "2,6". Throws UsageError.
    std::vector<int64_t> baseline_orders() const;
    // Refuses what does not go together.
    void check() const;
};

struct PrepareOptions {
    DataOptions data;
    std::string out;
    bool overwrite = false, json = false;

    OptionList list();
};

struct GenerateOptions {
    CheckpointOptions checkpoint;
    int64_t num = 1, seed = 0;
    std::optional<int64_t> tokens, batch, top_k, tile;
    std::optional<double> seconds, top_p;
    double temperature = 1;
    std::string out, prompt;
    std::vector<std::string> classes;
    std::vector<std::string> beside;  // clips to compare with, and how their names tell their labels
    std::string pattern;
    bool allow_n = false, spectrogram = false, overwrite = false;
    MachineOptions machine;

    OptionList list();
    // Throws UsageError when the length is not given once.
    void check() const;
};

struct BenchOptions {
    std::string op;
    int64_t repeats = 7;
    std::string filter;
    std::string mixer;  // this and the next five: of the rows of whole models
    std::optional<int64_t> d_model, layers, batch, length, tile, keep;
    std::optional<Bytes> memory;
    bool json = false;
    MachineOptions machine;

    OptionList list();
    // Whether one model is asked for instead of those that are timed by default.
    bool describes_model() const { return d_model || layers || batch || length; }
    void check() const;
};

struct SelftestOptions {
    MachineOptions machine;

    OptionList list();
};

}  // namespace adder::cli
