// Speed of whole models on tokens made up on the spot: training steps, the forward pass over a long sequence, single
// steps.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/ctx.h"

namespace adder {

struct ModelCase {
    const char* what;   // "train_step", "embed_forward" or "decode_cuda_graph"
    const char* mixer;  // of the registry
    int64_t d_model, n_layer, B;
    int64_t L = 0;      // 0: single steps
    int64_t tile = 0;   // 0: the whole length
    std::string title() const;
};

struct ModelTiming {
    double best_ms = 0, median_ms = 0;  // of one step, one forward pass, or one token of every row
    double tokens_per_s = 0;            // at the best
    int64_t runs = 0, parameters = 0;
    int64_t memory_bytes = 0;           // planned: parameters, gradients, moments, tiles, states, scratch; 0 = not known
};

// Sizes for a CPU. N is 16 for mamba1 and 128 for mamba2, headdim 64, vocabulary 16.
std::vector<ModelCase> model_cases();

// Best of `runs` runs, fewer once a case has taken ten seconds.
ModelTiming time_model(const ModelCase& c, const Compute& compute, int64_t runs);

}  // namespace adder
