#include "pipelines/dna/kmers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "core/rng.h"
#include "pipelines/dna/tokenizer.h"

namespace adder {
namespace {

std::vector<float> frequencies(int k, const std::string& letters) {
    std::vector<uint8_t> symbols;
    dna::BaseCounts counts;
    dna::encode(letters, symbols, counts);
    const dna::KmerFrequencies kmers(k);
    std::vector<float> out(static_cast<size_t>(kmers.n_features()), -1);
    kmers.of(symbols, out.data());
    return out;
}

std::string other_strand(std::string s) {
    std::reverse(s.begin(), s.end());
    for (char& c : s) c = c == 'A' ? 'T' : c == 'T' ? 'A' : c == 'C' ? 'G' : c == 'G' ? 'C' : c;
    return s;
}

std::string random_letters(int64_t n, uint64_t seed) {
    const Philox rng(seed, Stream::test);
    std::string s;
    for (int64_t i = 0; i < n; ++i) s += "ACGTN"[std::min<uint64_t>(rng.below(60, static_cast<uint64_t>(i)) / 14, 4)];
    return s;
}

TEST(Kmers, short_ones_are_counted_by_hand) {
    // A and T are one, C and G the other.
    EXPECT_THAT(frequencies(1, "AACGTNx"), testing::ElementsAre(0.6f, 0.4f));
    // Of 2-mers: AA=TT, AC=GT, AG=CT, AT, CA=TG, CC=GG, CG, GA=TC, GC, TA, in the order of the first of each pair.
    EXPECT_THAT(frequencies(2, "AACGTNta"), testing::ElementsAre(.2f, .4f, 0, 0, 0, 0, .2f, 0, 0, .2f));
    EXPECT_THAT(frequencies(3, "ACNGT"), testing::Each(0));
    EXPECT_THAT(frequencies(3, ""), testing::Each(0));
}

TEST(Kmers, both_strands_give_the_same_features) {
    for (int k = 1; k <= 6; ++k) {
        const std::string s = random_letters(301, static_cast<uint64_t>(k));
        EXPECT_EQ(frequencies(k, s), frequencies(k, other_strand(s)));
    }
}

TEST(Kmers, equal_a_count_by_words) {
    for (int k = 1; k <= 6; ++k) {
        const std::string s = random_letters(400, 77);
        std::map<std::string, int> counts;
        int total = 0;
        for (size_t i = 0; i + static_cast<size_t>(k) <= s.size(); ++i) {
            const std::string word = s.substr(i, static_cast<size_t>(k));
            if (word.find('N') != std::string::npos) continue;
            ++counts[std::min(word, other_strand(word))];
            ++total;
        }
        std::vector<float> expected, got = frequencies(k, s);
        for (const auto& [word, count] : counts)
            expected.push_back(static_cast<float>(static_cast<double>(count) / total));
        got.erase(std::remove(got.begin(), got.end(), 0.0f), got.end());
        EXPECT_EQ(got, expected);
        EXPECT_EQ(dna::KmerFrequencies(k).n_features(), k == 6   ? 2080
                                                        : k == 5 ? 512
                                                        : k == 4 ? 136
                                                        : k == 3 ? 32
                                                        : k == 2 ? 10
                                                                 : 2);
    }
}

}  // namespace
}  // namespace adder
