// Speed of whole models on tokens made up on the spot: training steps, the forward pass over a long sequence, single
// steps; and of the data side alone.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "apps/run_options.h"
#include "core/ctx.h"

namespace adder {

struct ModelCase {
    std::string what;   // "train_step", "embed_forward", "decode_cuda_graph" or "loader"
    std::string mixer;  // of the registry; empty for the loader
    int64_t d_model = 0, n_layer = 0, B = 1;
    int64_t L = 0;      // 0: single steps
    int64_t tile = 0;   // 0: chosen by the memory on a GPU, on the CPU the whole length
    std::string title() const;
};

struct ModelTiming {
    double best_ms = 0, median_ms = 0;  // of one step, one forward pass, or one token of every row
    double tokens_per_s = 0;            // at the best
    int64_t runs = 0, parameters = 0;
    int64_t memory_bytes = 0;           // planned: everything that the case keeps in memory; 0 = not known
    int64_t tile = 0, keep = -1;        // as chosen; 0, -1 = there is none
    // Training on a GPU only.
    double idle_pct = -1;  // of the time of so many steps, in which the GPU waited for the host between them
    int64_t idle_steps = 0;
    double parity = -1;        // largest relative difference of a step's loss from that in f32; -1 = not compared
    int64_t parity_steps = 0;
};

// What the losses of a step in bf16 may differ from those in f32.
inline constexpr double kParity = 5e-3;

inline constexpr const char* kModelRows[] = {"train_step", "embed_forward", "decode_cuda_graph", "loader"};

// N is 16 for mamba1 and 128 for mamba2, headdim 64, vocabulary 16. On a GPU sizes at which other programs were timed, or
// the one that the options describe.
std::vector<ModelCase> model_cases(const cli::BenchOptions& options, Device device);

// Best of --repeats runs, fewer once a case has taken long.
ModelTiming time_model(const ModelCase& c, const Compute& compute, const cli::BenchOptions& options);

}  // namespace adder
