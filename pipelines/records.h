// Token records: what every domain makes of its inputs, and how they become rows of a batch.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/batch.h"
#include "pipelines/tokenizer.h"

namespace adder {

constexpr uint16_t kNoToken = 0xFFFF;

// Where the symbols of a record are from, by which records that hold the same ones are told.
struct Origin {
    int64_t sequence = -1;      // equal numbers: one sequence of one file (SequenceNumbers); -1: not known
    double begin = 0, end = 0;  // in the sequence: bases, or seconds of audio
};

struct TokenRecord {
    std::string name;  // once loaded without control characters (settle_names)
    std::vector<uint8_t> symbols = {};
    uint16_t class_token = kNoToken;  // stands before the first token of whatever is cut from the record
    std::string label = {}, group = {};  // "" where the input has none; a group is never divided by a split
    int32_t file = 0;                 // index of Dataset::files
    bool is_read = false;             // one of many that overlap: a split by fractions takes it whole
    Origin origin = {};
};

// Symbols [begin, end) of record `record`: a part that is used as if nothing stood before or after it.
struct Segment {
    int64_t record = 0, begin = 0, end = 0;
    int64_t size() const { return end - begin; }
};

// Every record as one segment.
std::vector<Segment> whole_records(std::span<const TokenRecord> records);

int64_t n_symbols(std::span<const Segment> segments);

// The first `limit` symbols of these segments: some whole, the last one cut.
std::vector<Segment> first_symbols(std::span<const Segment> segments, int64_t limit);

// SHA-256 over (length of the name, name, number of symbols, symbols) of every record, and its class token where it has
// one: does not depend on how the files were wrapped, compressed or called, nor on the tokenizer.
std::string digest_of(std::span<const TokenRecord> records);

// A sequence of tokens that a model sees from its zero state on, with its class token before it where there is one.
struct Member {
    std::span<const uint8_t> symbols;
    uint16_t class_token = kNoToken;
};
Member member_of(std::span<const TokenRecord> records, const Segment& segment);

// Positions of a member: a position is a token with its successor as target, or the class token with the first token.
// n tokens have n - 1 positions, with a class token n; position j has token j + 1 as its target, or token j.
int64_t n_positions(const Tokenizer& tokenizer, const Member& member);

// One row of a batch, or a part of it.
struct BatchRow {
    uint16_t* ids;
    uint16_t* targets;
    float* weights;
    uint8_t* start;
    BatchRow operator+(int64_t t) const { return {ids + t, targets + t, weights + t, start + t}; }
};

// Row b of a batch. Only contiguous (B,L) tensors, as Batch makes them.
BatchRow row_of(Batch& batch, int64_t b);

// Some positions of a member, in a row.
struct Piece {
    int64_t first = 0, count = 0;
    bool begins = true;    // nothing before it is seen: a start flag, and in place of the first id the class token
    bool reverse = false;  // its tokens are read from the end on the other strand; only of a piece that begins
};

// Writes the positions of a piece. Without a class token position j has the id of token j; with one, position j has the id of
// token j - 1, or the class token where the piece begins, and the same targets whether it begins or not. Allocates nothing.
void write_piece(const Tokenizer& tokenizer, const Member& member, const Piece& piece, BatchRow to);

// Writes `count` positions of padding, of weight 0: a member of its own, or with `begins` false the end of the one before.
void write_padding(const Tokenizer& tokenizer, int64_t count, BatchRow to, bool begins = true);

}  // namespace adder
