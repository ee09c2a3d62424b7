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

ContextModel learned(int longest, const std::vector<std::string>& texts, double lower_weight = 1) {
    std::vector<std::vector<uint8_t>> parts;
    for (const std::string& text : texts) parts.push_back(encode(text));
    const std::vector<std::span<const uint8_t>> spans(parts.begin(), parts.end());
    return {longest, spans, lower_weight};
}

std::vector<BitCount> scored(const ContextModel& model, const std::string& text, const DnaOptions& options = {}) {
    std::vector<BitCount> totals(static_cast<size_t>(model.longest()) + 1);
    model.score(encode(text), *make_tokenizer(options), totals);
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

// By hand: ACac counts A and C once and a and c W times; the other strand, gtGT, G and T alike.
TEST(ContextModel, what_counts_less_in_the_loss_is_learned_from_less) {
    const double a = ContextModel::kPrior;
    for (const double W : {0.0, 0.25, 1.0}) {
        const ContextModel model = learned(1, {"ACac"}, W);
        const double all = 4 + 4 * W, A = (1 + W + a / 4) / (all + a);
        const double C = (1 + W + a / 4) / (all + a);
        // After A: C once, c W times; after C: a W times.
        const std::vector<BitCount> got = scored(model, "AC");
        EXPECT_NEAR(got[0].bits, -std::log2(C), 1e-12) << W;
        EXPECT_NEAR(got[1].bits, -std::log2((1 + W + a * C) / (1 + W + a)), 1e-12) << W;
        EXPECT_NEAR(scored(model, "CA")[1].bits, -std::log2((W + a * A) / (W + a)), 1e-12) << W;
    }
}

TEST(ContextModel, bases_count_as_often_as_the_targets_of_the_network) {
    const ContextModel model = learned(2, {"ACGTTGCATTNACGGTAAACC"});
    const std::string text = "ACgtTGnCaTT";
    for (const double W : {0.0, 0.3, 1.0}) {
        // Code lengths of one base each, as the difference of two beginnings.
        double bits = 0, bases = 0;
        for (size_t i = 1; i < text.size(); ++i) {
            const double one = scored(model, text.substr(0, i + 1))[2].bits - scored(model, text.substr(0, i))[2].bits;
            const double weight = text[i] == 'n' ? 0 : text[i] >= 'a' ? static_cast<float>(W) : 1;
            bits += weight * one;
            bases += weight;
        }
        const std::vector<BitCount> got = scored(model, text, {.mask_weight = W});
        EXPECT_NEAR(got[2].bits, bits, 1e-12) << W;
        EXPECT_NEAR(got[2].bases, bases, 1e-12) << W;
    }
}

// Of 3-mers ACG tTA NCC GgG T: the first has none before it, that with N and the rest are no targets.
TEST(ContextModel, of_k_mers_the_bases_of_their_targets_are_scored) {
    const std::string text = "ACGtTANCCGgGT";
    const std::vector<BitCount> got =
        scored(learned(1, {text}), text, {.tokenizer = "kmer", .kmer = 3, .mask_weight = 0.5});
    EXPECT_NEAR(got[1].bases, 3 * (2.5 / 3) + 3 * (2.5 / 3), 1e-6);
}

// Weights are looked up in blocks.
TEST(ContextModel, a_long_segment_is_scored_as_its_pieces) {
    std::string text;
    const Philox rng(6, Stream::test);
    for (uint64_t i = 0; i < 10000; ++i) text += "ACGTacgt"[rng.below(8, i)];
    const ContextModel model = learned(0, {text});
    const DnaOptions half{.mask_weight = 0.5};
    const BitCount whole = scored(model, text, half)[0];
    BitCount pieces;
    for (size_t at = 0; at + 1 < text.size(); at += 99) {
        const BitCount piece = scored(model, text.substr(at, 100), half)[0];
        pieces.bits += piece.bits;
        pieces.bases += piece.bases;
    }
    EXPECT_EQ(whole.bases, pieces.bases);
    EXPECT_NEAR(whole.bits, pieces.bits, 1e-9 * whole.bits);
}

TEST(ContextModel, orders_out_of_range_are_errors) {
    EXPECT_THAT(error_of([] { ContextModel(-1, {}); }), HasSubstr("0 to 12"));
    EXPECT_THAT(error_of([] { ContextModel(13, {}); }), HasSubstr("0 to 12"));
}

}  // namespace
}  // namespace adder::dna
