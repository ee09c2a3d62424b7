// Sampling sequences: prefill = tiles of the prompt, then single steps.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/model.h"
#include "model/sampler.h"

namespace adder {

struct GenerateOptions {
    int64_t n_tokens = 0;   // of a whole record, prompt included
    int64_t n_records = 1;
    uint64_t seed = 0;
    int64_t batch = 16;     // records at a time; changes no record
    int64_t tile = 1024;    // of the prefill
    SamplerOptions sampler;
};

// Gives the prompt of record k (may be empty: then the first token is drawn uniformly from the allowed ones).
using PromptOf = std::function<std::span<const uint16_t>(int64_t record)>;
// Receives record k whole, in order of k.
using RecordSink = std::function<void(int64_t record, std::span<const uint16_t> tokens)>;

// Record k depends on (seed, k, its prompt) alone. Throws Error when a prompt is longer than n_tokens, Interrupted when
// `stop` (optional) is set.
void generate(LanguageModel& model, const Compute& compute, const GenerateOptions& options, const PromptOf& prompt_of,
              const RecordSink& sink, const std::atomic<bool>* stop = nullptr);

}  // namespace adder
