// Records cut into tiles for an Embedder, and where in them the parts stand that are to be embedded.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "pipelines/records.h"

namespace adder {

// Positions of a tile that belong to one target.
struct TargetPiece {
    int64_t target = 0;
    bool reverse = false;                   // of the other strand
    int64_t row = 0, begin = 0, count = 0;  // in the tile
    int64_t done = 0;                       // positions of the target that came before, in reading direction
    bool ends = false;                      // the target ends with these
};

// Tokens of `rows` rows of n, each row's at absolute position t0 of its sequence.
struct TargetTile {
    int64_t rows = 0, n = 0, t0 = 0;
    std::vector<uint16_t> ids;   // (rows,n)
    std::vector<uint8_t> start;  // (rows,n): 1 where a record begins
    std::vector<TargetPiece> pieces;
};

struct TilePlan {
    int64_t tile = 1;          // tokens at most, over all rows; a multiple of the stride
    int64_t stride = 1;        // records and tiles begin at multiples of it
    int64_t rows = 1;          // at most; none has fewer than 16 tokens but where a tile has
    bool packed = false;       // one row, records after each other; else a row for each, a longer one in tiles of its own
    bool two_strands = false;  // each record also reversed
    bool in_order = false;     // records in their order; else those of one length together
};

// A target is a run of tokens of a record, read from the record's first token on (on the other strand from
// its last one): its left context is everything before it. Records are read once a strand, as far as their
// last target; without targets not at all.
//
// Not packed, a record is padded to a length that follows from its own alone (at most an eighth more): no bit
// of a row then depends on the other records or, at multiples of 1,024, on the tile.
class TargetTiles {
  public:
    // `targets` are in tokens, at least one each, inside their records. All of it must outlive this.
    TargetTiles(const Tokenizer& tokenizer, std::span<const TokenRecord> records,
                std::span<const Segment> targets, const TilePlan& plan);

    // Before the first call of `next`.
    void set_tile(int64_t tile, int64_t rows);
    // False at the end. What `tile` holds is overwritten; its memory is used again.
    bool next(TargetTile& tile);
    int64_t tokens_in_all() const { return in_all_; }  // padding included
    int64_t tokens_given() const { return given_; }

  private:
    // A record on one strand.
    struct Member {
        int64_t record = 0;
        bool reverse = false;
        size_t first = 0, last = 0;  // its targets: by_record_[first, last)
        int64_t length = 0;          // of the record
        int64_t reads = 0;           // tokens that are given, padding included
    };
    // One that is being read.
    struct Reading {
        Member member;
        int64_t at = 0;
        std::vector<int64_t> targets;  // in the order of their first position
        size_t next = 0;
        std::vector<int64_t> open;
    };
    struct Run {
        int64_t begin, end;
    };
    std::optional<Member> next_member();
    bool next_of_window(Member& member);
    Member member_at(size_t first, bool reverse) const;
    Run run_of(const Member& member, int64_t target) const;  // in reading direction
    int64_t padded(int64_t length, int64_t needed) const;
    Reading begin(const Member& member) const;
    void give(Reading& reading, int64_t count, int64_t row, int64_t at, TargetTile& tile);
    bool next_packed(TargetTile& tile);
    bool next_rows(TargetTile& tile);

    const Tokenizer& tokenizer_;
    std::span<const TokenRecord> records_;
    std::span<const Segment> targets_;
    TilePlan plan_;
    std::vector<int64_t> by_record_;  // targets, by record and first position
    size_t next_target_ = 0;          // in it, of the next member
    bool next_reverse_ = false;
    std::vector<Member> window_;      // the last one comes first
    std::optional<Reading> reading_;  // not ended with the last tile
    std::vector<float> weights_;
    int64_t in_all_ = 0, given_ = 0;
};

}  // namespace adder
