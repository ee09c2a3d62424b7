// Training windows: batches as a pure function of (seed, step, micro-batch).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "core/batch.h"
#include "core/ceil_div.h"
#include "pipelines/records.h"

namespace adder {

struct WindowOptions {
    std::vector<LengthStage> stages;  // ascend in until_step, the last one serves all later steps too; B L is the same in all
    int64_t accumulation = 1;         // micro-batches a step
    uint64_t seed = 0;
    double reverse = 0;  // probability that a member is read on the other strand
    int64_t stride = 1;  // members begin at multiples of it, which every L is too; gaps between them are padded
};

// An epoch visits every position of the train part once. A position is a token with its successor as target, both of one
// segment, so a segment of n tokens has n - 1, and with a class token before it n; all positions P of all segments, in
// order, form a ring. Epoch e cuts the ring at a random offset in [0, L) and from there into ceil(P / L) windows, the last
// one padded; a seeded permutation orders them. A window that crosses from one segment to the next holds several members;
// every member and every window begins with a start flag. Hence long segments give full windows, short ones and remainders
// are packed, the number of windows does not depend on the offset, and any batch is computed from its number alone, in
// memory of O(segments). With a stride, a segment takes as many positions of the ring as whole strides hold it, and offsets
// are multiples of it. A batch may reach from one epoch into the next. A stage begins an epoch of its own.
//
// Members are turned to the other strand one by one, each epoch anew, by a number drawn for (seed, stage, epoch, window,
// member). A turned member has the same pairs of neighbours, so each is still seen once an epoch.
class WindowSampler {
  public:
    // `records` and `tokenizer` outlive the sampler; records are read only inside `segments`. Errors: no positions to train
    // on, malformed stages, a probability out of range or without a second strand.
    WindowSampler(std::span<const TokenRecord> records, std::span<const Segment> segments, const Tokenizer& tokenizer,
                  WindowOptions options);

    // The shape of a step's batches.
    const LengthStage& stage(int64_t step) const;
    // Fills a batch of that shape. Allocates nothing.
    void fill(int64_t step, int64_t micro_batch, Batch& batch) const;

    int64_t n_positions() const { return n_positions_; }
    int64_t n_windows(int64_t L) const { return ceil_div(ring(), L); }

  private:
    int64_t ring() const { return first_position_.back(); }
    size_t stage_index(int64_t step) const;
    void fill_window(size_t stage, int64_t epoch, int64_t index, BatchRow row) const;
    int64_t write_ring(int64_t position, int64_t count, bool reverse, BatchRow row) const;

    std::span<const TokenRecord> records_;
    std::vector<Segment> segments_;        // those with positions
    std::vector<int64_t> first_position_;  // of each segment in the ring; then the length of the ring
    int64_t n_positions_ = 0;              // those that are no padding
    const Tokenizer& tokenizer_;
    WindowOptions options_;
};

}  // namespace adder
