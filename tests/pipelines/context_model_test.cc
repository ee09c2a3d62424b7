#include "pipelines/dna/context_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "core/rng.h"
#include "pipelines/dna/tokenizer.h"
#include "tests/io/scratch.h"

namespace adder::dna {
namespace {

using testing::HasSubstr;

std::vector<uint8_t> encode(const std::string& letters) {
    BaseCounts counts;
    std::vector<uint8_t> symbols;
    encode(letters, symbols, counts);
    return symbols;
}

ContextModel learned(int longest, const std::vector<std::string>& texts) {
    std::vector<std::vector<uint8_t>> parts;
    for (const std::string& text : texts) parts.push_back(encode(text));
    const std::vector<std::span<const uint8_t>> spans(parts.begin(), parts.end());
    return {longest, spans};
}

std::vector<BitCount> scored(const ContextModel& model, const std::string& text) {
    std::vector<BitCount> totals(static_cast<size_t>(model.longest()) + 1);
    model.score(encode(text), totals);
    return totals;
}

// Counts written out by hand: AACAG and its other strand CTGTT.
TEST(ContextModel, order_one_matches_a_calculation_by_hand) {
    const ContextModel model = learned(1, {"AACAG"});
    const double a = ContextModel::kPrior;
    const double A = (3 + a / 4) / (10 + a), C = (2 + a / 4) / (10 + a), T = (3 + a / 4) / (10 + a);
    // After A: A, C, G once each; after C: A, T.
    const std::vector<BitCount> got = scored(model, "AAC");
    EXPECT_EQ(got[1].bases, 2);
    EXPECT_NEAR(got[0].bits, -std::log2(A) - std::log2(C), 1e-12);
    EXPECT_NEAR(got[1].bits, -std::log2((1 + a * A) / (3 + a)) - std::log2((1 + a * C) / (3 + a)), 1e-12);
    const std::vector<BitCount> after_n = scored(model, "ANACT");  // A without a context, C after A, T after C
    EXPECT_EQ(after_n[1].bases, 3);
    EXPECT_NEAR(after_n[1].bits, -std::log2(A) - std::log2((1 + a * C) / (3 + a)) - std::log2((1 + a * T) / (2 + a)), 1e-12);
}

// Another way to the same numbers: strings as contexts, the longest known one within its segment.
TEST(ContextModel, every_order_matches_counting_with_strings) {
    const Philox rng(5, Stream::test);
    std::vector<std::string> parts(3);
    for (uint64_t i = 0; i < 4000; ++i) parts[i % 3] += "ACGTACGTACGTACGTACGTN"[rng.below(21, i)];
    const auto context = [](const std::string& s, size_t i, size_t k) {
        size_t begin = i;
        while (begin > 0 && i - begin < k && s[begin - 1] != 'N') --begin;
        return s.substr(begin, i - begin);
    };
    const auto other_strand = [](std::string s) {
        std::reverse(s.begin(), s.end());
        for (char& c : s) c = "ACGTN"[std::string("TGCAN").find(c)];
        return s;
    };
    constexpr size_t kLongest = 5;
    const std::vector<BitCount> got = scored(learned(kLongest, {parts[0], parts[1]}), parts[2]);
    std::map<std::string, std::map<char, double>> counts;
    for (const std::string& s : {parts[0], parts[1], other_strand(parts[0]), other_strand(parts[1])})
        for (size_t i = 0; i < s.size(); ++i)
            for (size_t k = 0; s[i] != 'N' && k <= context(s, i, kLongest).size(); ++k) ++counts[s.substr(i - k, k)][s[i]];
    for (size_t order = 0; order <= kLongest; ++order) {
        double bits = 0;
        int64_t bases = 0;
        for (size_t i = 1; i < parts[2].size(); ++i) {
            const char c = parts[2][i];
            if (c == 'N') continue;
            double p = 0.25;
            for (size_t k = 0; k <= context(parts[2], i, order).size(); ++k) {
                std::map<char, double>& row = counts[parts[2].substr(i - k, k)];
                const double a = ContextModel::kPrior;
                p = (row[c] + a * p) / (row['A'] + row['C'] + row['G'] + row['T'] + a);
            }
            bits -= std::log2(p);
            ++bases;
        }
        EXPECT_EQ(got[order].bases, bases) << order;
        EXPECT_NEAR(got[order].bits, bits, 1e-9 * bits) << order;
    }
}

TEST(ContextModel, both_strands_are_learned) {
    std::string repeat;
    for (int i = 0; i < 100; ++i) repeat += "GATTACA";
    const ContextModel model = learned(3, {repeat});
    EXPECT_LT(scored(model, "TGTAATCTGTAATC")[3].per_base(), 1.9);  // only the other strand has these
    EXPECT_GT(scored(model, "TGAAGTCTGAAGTC")[3].per_base(), 2.1);
}

TEST(ContextModel, probabilities_of_the_four_bases_add_up_to_one) {
    const ContextModel model = learned(4, {"ACGTTGCATTNACGGT"});
    double sum = 0;
    for (const char* next : {"ACGTA", "ACGTC", "ACGTG", "ACGTT"})
        sum += std::exp2(scored(model, "ACGT")[4].bits - scored(model, next)[4].bits);
    EXPECT_NEAR(sum, 1, 1e-12);
}

TEST(ContextModel, orders_out_of_range_are_errors) {
    EXPECT_THAT(error_of([] { ContextModel(-1, {}); }), HasSubstr("0 to 12"));
    EXPECT_THAT(error_of([] { ContextModel(13, {}); }), HasSubstr("0 to 12"));
}

}  // namespace
}  // namespace adder::dna
