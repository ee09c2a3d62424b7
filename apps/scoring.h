// Code length of segments under a model: records are packed into one stream of tiles, with start flags between them.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/session.h"
#include "model/tile_engine.h"
#include "pipelines/records.h"

namespace adder {

// The fewest tokens a tile that are tried where memory is little.
inline constexpr int64_t kLeastScoreTile = 1024;

class SegmentScorer {
  public:
    // Memory is planned for tiles of T tokens.
    SegmentScorer(LanguageModel& model, const Compute& compute, const Tokenizer& tokenizer, int64_t T);

    // Every segment from the zero state; sums of counted targets, added in order. `on_segment` (optional) receives each
    // segment's own sums, in order. Throws Interrupted when `stop` (optional) is set.
    LossSums score(std::span<const TokenRecord> records, std::span<const Segment> segments,
                   const std::function<void(size_t segment, const LossSums&)>& on_segment = {},
                   const std::atomic<bool>* stop = nullptr);

  private:
    // Positions of a tile that belong to one segment.
    struct Piece {
        size_t segment;
        int64_t begin, count;
    };
    struct Flight {
        Batch tile;
        std::vector<double> nats;
        std::vector<Piece> pieces;  // empty: nothing is under way
    };
    // What has not been given to the model yet.
    struct Place {
        size_t segment = 0;
        int64_t inside = 0;  // position inside the segment
        int64_t read = 0;    // tokens that were given before
    };
    void give(Flight& flight, std::span<const TokenRecord> records, std::span<const Segment> segments);

    const Tokenizer& tokenizer_;
    Session session_;
    std::vector<Flight> flights_;
    Place next_;
};

}  // namespace adder
