// Which parts of the records are for training, for choosing a model and for testing it.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pipelines/records.h"

namespace adder {

// At most one of the three ways: fractions, names, intervals.
struct SplitOptions {
    double valid_fraction = 0, test_fraction = 0;         // the last parts of every record: valid, then test
    int64_t gap = 0;                                      // symbols before each of them that belong to no part
    std::vector<std::string> valid_records = {}, test_records = {};  // whole, by name
};

struct Split {
    std::vector<Segment> train, valid, test;
    int64_t n_gap = 0;  // symbols in no part
};

// By fractions, of a record of n symbols the last round(n * test_fraction) are for testing and round(n * valid_fraction)
// before them for validation; the gap before each belongs to no part; what is before that is for training. Empty parts are
// left out. Errors: a fraction or gap out of range, both ways of splitting at once, a name that no record or several have,
// a name in both lists.
Split split_records(std::span<const TokenRecord> records, const SplitOptions& options);

// SHA-256 of all segments, in order, by part and name of the record.
std::string digest_of(const Split& split, std::span<const TokenRecord> records);

}  // namespace adder
