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
    double valid_fraction = 0,
           test_fraction = 0;  // the last parts of every record: valid, then test; or of all reads
    int64_t gap = 0;                                      // symbols before each of them that belong to no part
    std::vector<std::string> valid_records = {}, test_records = {};  // whole, by name
    std::string bed = {};                                   // file of intervals whose split says train, valid or test
};

struct Split {
    std::vector<Segment> train, valid, test;
    int64_t n_unused = 0;  // symbols in no part
};

// By fractions, of a record of n symbols the last round(n * test_fraction) are for testing and round(n *
// valid_fraction) before them for validation; the gap before each belongs to no part; what is before that is
// for training. Empty parts are left out. Reads stay whole, without gaps: a hash of the name says the part,
// so that of any reads about the fraction is held out, and always the same ones; mates, and reads of one
// group, come into one part. By intervals, symbols outside all of them belong to no part; those of a part
// that touch or overlap make one segment. `files` are what TokenRecord::file counts, for names such as
// "file:name". Errors: a fraction or gap out of range, several ways of splitting at once, a name that no
// record or several have, a name in both lists; those of read_bed and locate, an interval with another word
// than train, valid and test, intervals of different parts that overlap.
Split split_records(std::span<const TokenRecord> records, std::span<const std::string> files, const SplitOptions& options);

// SHA-256 of all segments, in order, by part and name of the record.
std::string digest_of(const Split& split, std::span<const TokenRecord> records);

}  // namespace adder
