// Token records: what every domain makes of its inputs, how they are split, and how they become rows of a
// batch.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/batch.h"

namespace adder {

struct TokenRecord {
    std::string name;
    std::vector<uint8_t> tokens;
};

// Tokens [begin, end) of record `record`: a part that is used as if nothing stood before or after it.
struct Segment {
    int64_t record = 0, begin = 0, end = 0;
    int64_t size() const { return end - begin; }
};

// What a domain's tokens mean to training and scoring.
struct TokenRules {
    uint16_t pad = 0;
    std::array<float, 256> weight{};  // how much a target with this id counts
};

struct SplitOptions {
    double valid_fraction = 0;               // in [0, 1): the last part of every record is held out
    int64_t gap = 0;                         // tokens before it that belong to neither part
    std::vector<std::string> valid_records;  // held out whole, by name; excludes valid_fraction
};

struct Split {
    std::vector<Segment> train, valid;
    int64_t n_gap = 0;  // tokens in neither part
};

// Of a record of n tokens the last v = round(n * valid_fraction) are held out, the gap before them goes to
// neither part, what is before that is for training; empty parts are left out. Errors: a fraction or gap out
// of range, both ways of splitting at once, a name that no record has.
Split split_records(std::span<const TokenRecord> records, const SplitOptions& options);

// Every record as one segment.
std::vector<Segment> whole_records(std::span<const TokenRecord> records);

int64_t n_tokens(std::span<const Segment> segments);

// The first `limit` tokens of these segments: some whole, the last one cut.
std::vector<Segment> first_tokens(std::span<const Segment> segments, int64_t limit);

// SHA-256 over (length of the name, name, number of tokens, tokens) of every record: does not depend on how
// the files were wrapped, compressed or called.
std::string digest_of(std::span<const TokenRecord> records);

inline std::span<const uint8_t> tokens_of(std::span<const TokenRecord> records, const Segment& s) {
    return std::span(records[static_cast<size_t>(s.record)].tokens)
        .subspan(static_cast<size_t>(s.begin), static_cast<size_t>(s.size()));
}

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

// Writes positions [t0, t0 + count) of a member that consists of `tokens` (n of them): id = token t, target =
// token t+1 with its weight; the last token of the member has target pad and weight 0. `start` is 1 at t = 0
// only.
void write_positions(const TokenRules& rules, std::span<const uint8_t> tokens, int64_t t0, int64_t count,
                     BatchRow to);

// Writes `count` positions of padding: a member of its own, of weight 0.
void write_padding(const TokenRules& rules, int64_t count, BatchRow to);

}  // namespace adder
