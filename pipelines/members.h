// Batches of whole records with classes: what a classifier learns from. A function of (seed, step, micro-batch) alone.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "core/batch.h"
#include "pipelines/permutation.h"
#include "pipelines/records.h"

namespace adder {

struct LabelledRecord {
    int64_t record = 0;   // index
    uint16_t label = 0;   // class
    float weight = 1;     // how often it counts
};

struct MemberOptions {
    int64_t batch = 32;        // records a micro-batch
    int64_t accumulation = 1;  // micro-batches a step
    uint64_t seed = 0;
    double reverse = 0;        // probability that a record is read on the other strand, each epoch anew
    int64_t stride = 1;        // records begin at multiples of it; gaps between them are padded
};

// An epoch is a seeded permutation of the records; a batch takes the next `batch` of it and may reach into the next
// epoch. Its records are packed into rows, longest first into the row that has the least, so that short records fill a
// device as well as long ones and a batch is as wide as its own records ask for: the columns behind are not computed
// (Batch::filled). Rows are for the longest records together, hence every batch fits.
class MemberSampler {
  public:
    // `records` and `tokenizer` outlive the sampler; class tokens of records are not read. Errors: no records, one
    // without a token, a probability out of range or without a second strand.
    MemberSampler(std::span<const TokenRecord> records, std::vector<LabelledRecord> members, const Tokenizer& tokenizer,
                  const MemberOptions& options);

    // The shape of all batches: B rows of L tokens.
    int64_t rows() const { return rows_; }
    int64_t length() const { return length_; }
    int64_t members() const { return static_cast<int64_t>(members_.size()); }
    // Rounded up.
    int64_t steps_of(double epochs) const;
    // Tokens of the records of a step, without padding.
    int64_t tokens_in(int64_t step) const;
    // Targets are classes and weights the records', both at a record's last token. Allocates nothing after the first call.
    void fill(int64_t step, int64_t micro_batch, Batch& batch);

  private:
    // One record of a batch: its number in the run and how many tokens it has.
    struct Drawn {
        int64_t number, tokens;
    };
    const LabelledRecord& member(int64_t number) const;
    int64_t tokens_of(const LabelledRecord& m) const;
    // What a record of so many tokens takes of a row.
    int64_t room_of(int64_t tokens) const;
    // Gives each of `drawn`, longest first, a row; the longest row is returned.
    int64_t deal(std::span<const Drawn> drawn, std::vector<int64_t>& rows);
    void write(const Drawn& drawn, BatchRow to);

    std::span<const TokenRecord> records_;
    std::vector<LabelledRecord> members_;
    const Tokenizer& tokenizer_;
    MemberOptions options_;
    int64_t rows_ = 1, length_ = 1;
    std::vector<int64_t> rows_of_longest_;  // where the longest records of all together lie: as many shorter ones fit too
    std::vector<Drawn> drawn_;              // of the batch that is made
    std::vector<int64_t> row_of_, filled_, heap_;
};

}  // namespace adder
