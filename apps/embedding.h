// Embeddings of runs of tokens: what a model makes of them with everything before them in the record as
// context.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "apps/embedding_file.h"
#include "apps/target_pools.h"
#include "model/embedder.h"
#include "pipelines/records.h"

namespace adder {

// What is embedded.
struct EmbedTargets {
    std::span<const TokenRecord> records;
    std::span<const Segment> segments;  // in tokens; row i of the result is of segment i, or with
                                        // EmbedPool::none rows from offsets()[i] on
    std::vector<bool> on_reverse = {};  // of each segment: its own strand is the other one; empty = of none
    bool whole_records = false;         // the segments are all records in turn

    std::vector<int64_t> offsets() const;  // segments + 1
};

struct EmbedSettings {
    EmbedPool pool = EmbedPool::mean;
    EmbedderOutputs outputs = {};
    BothStrands strands = BothStrands::no;
    std::optional<int64_t> tile = {};  // tokens; absent = what suits the device
    bool packed = false;               // records after each other in one row, as on a GPU: for tests
};

struct EmbedProgress {
    int64_t done = 0, all = 0;  // tokens, both strands and padding counted
};

// Reads every record that has segments once a strand, as far as its last segment, and puts the embeddings
// into `file`. Throws Interrupted when `stop` is set; Error for an embedding that is not finite.
//
// The rows of a segment follow from its record and its place in it. On the CPU they have the same bits
// whatever else is embedded with it, at any number of threads and any tile that is a multiple of 1,024; other
// tiles and a GPU give the same to rounding.
void embed(LanguageModel& model, const Compute& compute, const Tokenizer& tokenizer,
           const EmbedTargets& targets, const EmbedSettings& settings, EmbeddingFile& file,
           const std::function<void(const EmbedProgress&)>& progress = {},
           const std::atomic<bool>* stop = nullptr);

// Whether rows come in the order of the segments, one strand each.
bool rows_in_order(const EmbedTargets& targets, const EmbedSettings& settings);

}  // namespace adder
