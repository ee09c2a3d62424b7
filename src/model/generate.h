// Sampling sequences: prefill = tiles of the prompt, then single steps. Memory does not grow with the length of a record.
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

// Gives the prompt of record k (may be empty: then the first token is drawn uniformly from the allowed ones). The tokens
// live until the record is complete.
using PromptOf = std::function<std::span<const uint16_t>(int64_t record)>;
// Receives the tokens of record k from `first` on, prompt included: a record piece by piece in order, a few hundred drawn
// tokens at a time; the pieces of the records of a batch alternate. A record is complete when n_tokens have come.
using PieceSink = std::function<void(int64_t record, int64_t first, std::span<const uint16_t> tokens)>;
// Receives record k whole, in order of k.
using RecordSink = std::function<void(int64_t record, std::span<const uint16_t> tokens)>;

// Record k depends on (seed, k, its prompt) alone. Throws Error when a prompt is longer than n_tokens, Interrupted when
// `stop` (optional) is set.
void generate_pieces(LanguageModel& model, const Compute& compute, const GenerateOptions& options,
                     const PromptOf& prompt_of, const PieceSink& sink, const std::atomic<bool>* stop = nullptr);
// The same with the records of a batch held in memory.
void generate(LanguageModel& model, const Compute& compute, const GenerateOptions& options, const PromptOf& prompt_of,
              const RecordSink& sink, const std::atomic<bool>* stop = nullptr);

}  // namespace adder
