// Code length of segments under a model: records are packed into one stream of tiles, with start flags between them.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/session.h"
#include "model/tile_engine.h"
#include "pipelines/records.h"

namespace adder {

// Tokens a tile where nothing has to be kept for a backward pass: few on the CPU, on a GPU enough to fill it.
int64_t score_tile(Device device, const ModelConfig& config);

class SegmentScorer {
  public:
    // Memory is planned for tiles of T tokens.
    SegmentScorer(LanguageModel& model, const Compute& compute, const TokenRules& rules, int64_t T);

    // Every segment from the zero state; sums of counted targets, added in order. `on_segment` (optional) receives each
    // segment's own sums, in order. Throws Interrupted when `stop` (optional) is set.
    LossSums score(std::span<const TokenRecord> records, std::span<const Segment> segments,
                   const std::function<void(size_t segment, const LossSums&)>& on_segment = {},
                   const std::atomic<bool>* stop = nullptr);

  private:
    const TokenRules& rules_;
    Session session_;
    Batch tile_;
    std::vector<double> nats_;
};

}  // namespace adder
