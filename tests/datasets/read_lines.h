// Reads of a file as lines of text, and sequences to make them of.
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/rng.h"
#include "datasets/reads.h"

namespace adder {

inline std::string phred33(std::string_view qualities) {
    std::string s(qualities);
    for (char& q : s) q = static_cast<char>(q + 33);
    return s;
}

// "name sequence qualities" of every read that is kept, the qualities as FASTQ writes them.
inline std::vector<std::string> read_all(const std::string& path, const ReadFilter& filter = {},
                                         const std::string& reference = "", ReadCounts* counts = nullptr) {
    std::vector<std::string> reads;
    ReadsReader reader(InputFile(path), filter, reference);
    for (Read r; reader.next(r);) {
        EXPECT_TRUE(r.qualities.empty() || r.qualities.size() == r.sequence.size()) << r.name;
        reads.push_back(r.name + " " + r.sequence + " " + phred33(r.qualities));
    }
    if (counts) *counts = reader.counts();
    return reads;
}

inline std::string bases(int64_t n, uint64_t seed = 1) {
    const Philox rng(seed, Stream::test);
    std::string s(static_cast<size_t>(n), 'A');
    for (size_t i = 0; i < s.size(); ++i) s[i] = "ACGT"[rng.below(4, i)];
    return s;
}

}  // namespace adder
