#include "pipelines/dna/dna.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/rng.h"
#include "pipelines/dna/context_model.h"
#include "pipelines/dna/tokenizer.h"
#include "tests/datasets/compress.h"
#include "tests/io/scratch.h"

namespace adder::dna {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<uint8_t> encode(const std::string& letters) {
    BaseCounts counts;
    return encode(letters, "f.fa", "chr1", counts);
}

TEST(DnaTokenizer, ids_are_those_of_hyenadna_and_caduceus) {
    EXPECT_THAT(encode("ACGTN"), ElementsAre(7, 8, 9, 10, 11));
    EXPECT_EQ(kVocabulary, 12);
    EXPECT_EQ(token_rules().pad, 4);
}

TEST(DnaTokenizer, lower_case_is_upper_u_is_t_and_iupac_is_n) {
    EXPECT_EQ(encode("acgtn"), encode("ACGTN"));
    EXPECT_EQ(encode("Uu"), encode("TT"));
    EXPECT_EQ(encode("RYSWKMBDHVryswkmbdhv"), encode(std::string(20, 'N')));
}

TEST(DnaTokenizer, only_acgt_is_scored) {
    for (size_t id = 0; id < 256; ++id)
        EXPECT_EQ(token_rules().weight[id], id >= 7 && id <= 10 ? 1 : 0) << id;
}

TEST(DnaTokenizer, bases_are_counted_by_kind) {
    BaseCounts counts;
    encode("ACGTUNNRacgn", "f", "r", counts);
    encode("yA", "f", "r", counts);
    EXPECT_EQ(counts.records, 2);
    EXPECT_EQ(counts.bases, 14);
    EXPECT_EQ(counts.acgt, 9);
    EXPECT_EQ(counts.n, 3);
    EXPECT_EQ(counts.iupac, 2);
    EXPECT_EQ(counts.lower_case, 5);
}

TEST(DnaTokenizer, any_other_byte_is_an_error_naming_file_record_position_and_letter) {
    EXPECT_THAT(error_of([] { encode("ACGTEACGX"); }),
                AllOf(HasSubstr("f.fa"), HasSubstr("record chr1, position 5"), HasSubstr("got 'E'"),
                      HasSubstr("is it a protein?")));
    int64_t refused = 0;
    for (int c = 0; c < 256; ++c) {
        try {
            encode(std::string(1, static_cast<char>(c)));
        } catch (const Error&) {
            ++refused;
        }
    }
    EXPECT_EQ(refused, 256 - 2 * 16);
}

TEST(DnaTokenizer, decode_is_the_inverse_on_bases) {
    const std::vector<uint8_t> tokens = encode("GATTACAN");
    EXPECT_EQ(decode(std::vector<uint16_t>(tokens.begin(), tokens.end())), "GATTACAN");
    EXPECT_EQ(decode(std::vector<uint16_t>{0, 6, 12, 15, 999}), "?????");
}

TEST(DnaDomain, inputs_become_records_with_a_digest_that_ignores_wrapping_and_compression) {
    Scratch w;
    const std::vector<std::string> wrapped{w.put("a.fa", ">x one\nACGTAC\nGTNN\n>y\nRacg\n")};
    const std::vector<std::string> zipped{w.put("b.fa", bgzip(">x two\nACGTACGTNN\n>y\nNACG"))};
    const Dataset a = kDomain.load({.input = wrapped, .valid = {}, .split = {}});
    const Dataset b = kDomain.load({.input = zipped, .valid = {}, .split = {}});
    ASSERT_EQ(a.records.size(), 2u);
    EXPECT_EQ(a.records[0].name, "x");
    EXPECT_EQ(a.records[1].tokens, encode("NACG"));
    EXPECT_EQ(a.digest, b.digest);
    EXPECT_EQ(a.valid_digest, "");
    EXPECT_EQ(a.train.size(), 2u);
    EXPECT_THAT(
        a.report,
        Contains(HasSubstr("2 records, 14 bases: A C G T 11, N 2, IUPAC 1 (read as N); lower case 3")));
    EXPECT_THAT(a.warnings, ElementsAre(HasSubstr("21.4 % of the bases")));
}

TEST(DnaDomain, many_n_are_warned_about_only_above_one_percent) {
    Scratch w;
    const std::string bases(990, 'A');
    const auto warnings = [&](int n) {
        const std::vector<std::string> input{
            w.put("a.fa", ">x\n" + bases + std::string(static_cast<size_t>(n), 'N') + "\n")};
        return kDomain.load({.input = input, .valid = {}, .split = {}}).warnings;
    };
    EXPECT_THAT(warnings(10), IsEmpty());
    EXPECT_THAT(warnings(11), ElementsAre(HasSubstr("1.1 %")));
}

TEST(DnaDomain, held_out_files_are_kept_apart_from_the_inputs) {
    Scratch w;
    const std::vector<std::string> input{w.put("a.fa", ">x\nACGTACGT\n")},
        valid{w.put("v.fa", ">x\nGGGG\n>y\nCC\n")};
    const Dataset data = kDomain.load({.input = input, .valid = valid, .split = {}});
    EXPECT_EQ(data.train.size(), 1u);
    ASSERT_EQ(data.valid.size(), 2u);
    EXPECT_EQ(data.records[static_cast<size_t>(data.valid[1].record)].tokens, encode("CC"));
    EXPECT_EQ(data.digest, kDomain.load({.input = input, .valid = {}, .split = {}}).digest);
    EXPECT_EQ(data.valid_digest, kDomain.load({.input = valid, .valid = {}, .split = {}}).digest);
    const SplitOptions fraction{.valid_fraction = 0.5, .gap = 0, .valid_records = {}};
    EXPECT_THAT(error_of([&] { kDomain.load({.input = input, .valid = valid, .split = fraction}); }),
                HasSubstr("not both"));
}

TEST(DnaDomain, a_prompt_is_text_or_the_only_record_of_a_file) {
    Scratch w;
    EXPECT_EQ(kDomain.read_prompt("acgN"), encode("ACGN"));
    EXPECT_EQ(kDomain.read_prompt(w.put("p.fa", ">p\nGATT\nACA\n")), encode("GATTACA"));
    EXPECT_THAT(error_of([&] { kDomain.read_prompt(w.put("two.fa", ">p\nG\n>q\nC\n")); }),
                HasSubstr("one record"));
    EXPECT_THAT(error_of([] { kDomain.read_prompt("no/such.fa"); }), HasSubstr("no file of this name"));
    EXPECT_THAT(error_of([] { kDomain.read_prompt(""); }), HasSubstr("is empty"));
}

TEST(DnaDomain, is_found_by_name_and_unknown_names_list_the_known) {
    EXPECT_EQ(&find_domain("dna"), &kDomain);
    EXPECT_THROW(find_domain("rna"), UsageError);
    EXPECT_THAT(error_of([] { find_domain("rna"); }), HasSubstr("the domains are dna"));
    for (const Domain* d : domains()) {
        EXPECT_TRUE(d->load && d->evaluate && d->read_prompt && d->alphabet && d->append_sample && d->rules);
        EXPECT_TRUE(d->defaults().is_object());
        for (const uint16_t id : d->alphabet(true)) EXPECT_LT(id, d->vocabulary);
    }
}

TEST(DnaDomain, the_embedded_phage_genome_is_read) {
    const std::vector<std::string> input{std::string(ADDER_SOURCE_DIR) + "/datasets/data/phage_lambda.fa.gz"};
    const Dataset data = kDomain.load(
        {.input = input, .valid = {}, .split = {.valid_fraction = 0.2, .gap = 0, .valid_records = {}}});
    ASSERT_EQ(data.records.size(), 1u);
    EXPECT_EQ(data.records[0].tokens.size(), 48502u);
    EXPECT_EQ(data.records[0].name, "NC_001416.1");
    const std::vector<Baseline> rows = kDomain.evaluate(data, std::array<int64_t, 2>{2, 6});
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[0].tokens, 9699);
    EXPECT_GT(rows[0].bits_per_token, 1.9);
    EXPECT_LT(rows[0].bits_per_token, 2.0);
}

// Counts written out by hand.
TEST(ContextModel, order_one_matches_a_calculation_by_hand) {
    ContextModel model(1);
    model.train(encode("AACAG"));  // after A: A 1, C 1, G 1; after C: A 1
    BitCount total;
    model.score(encode("AAC"), total);  // after A: A (1.5/5), then after A: C (1.5/5)
    EXPECT_EQ(total.bases, 2);
    EXPECT_NEAR(total.bits, -2 * std::log2(0.3), 1e-12);
    BitCount after_n;
    model.score(encode("ANACT"), after_n);  // A without context 3.5/7, C after A 1.5/5, T after C 0.5/3
    EXPECT_EQ(after_n.bases, 3);
    EXPECT_NEAR(after_n.bits, -std::log2(0.5) - std::log2(0.3) - std::log2(0.5 / 3), 1e-12);
}

// Another way to the same numbers: strings as contexts, the longest known one within its segment.
TEST(ContextModel, every_order_matches_counting_with_strings) {
    const Philox rng(5, Stream::test);
    std::vector<std::string> parts(3);
    for (uint64_t i = 0; i < 4000; ++i) parts[i % 3] += "ACGTACGTACGTACGTACGTN"[rng.below(21, i)];
    auto context = [](const std::string& s, size_t i, size_t k) {
        size_t begin = i;
        while (begin > 0 && i - begin < k && s[begin - 1] != 'N') --begin;
        return s.substr(begin, i - begin);
    };
    for (const size_t k : {0u, 1u, 2u, 3u, 5u}) {
        ContextModel model(static_cast<int>(k));
        for (size_t p = 0; p < 2; ++p) model.train(encode(parts[p]));
        BitCount got;
        model.score(encode(parts[2]), got);
        std::map<std::string, std::map<char, double>> counts;
        for (size_t p = 0; p < 2; ++p) {
            for (size_t i = 0; i < parts[p].size(); ++i) {
                if (parts[p][i] == 'N') continue;
                for (size_t j = 0; j <= context(parts[p], i, k).size(); ++j) {
                    ++counts[parts[p].substr(i - j, j)][parts[p][i]];
                }
            }
        }
        double bits = 0;
        int64_t bases = 0;
        for (size_t i = 1; i < parts[2].size(); ++i) {
            if (parts[2][i] == 'N') continue;
            std::map<char, double>& row = counts[context(parts[2], i, k)];
            bits -= std::log2((row[parts[2][i]] + 0.5) / (row['A'] + row['C'] + row['G'] + row['T'] + 2));
            ++bases;
        }
        EXPECT_EQ(got.bases, bases) << k;
        EXPECT_NEAR(got.bits, bits, 1e-9 * bits) << k;
    }
}

TEST(ContextModel, orders_out_of_range_are_errors) {
    EXPECT_THAT(error_of([] { ContextModel m(-1); }), HasSubstr("0 to 12"));
    EXPECT_THAT(error_of([] { ContextModel m(13); }), HasSubstr("0 to 12"));
}

}  // namespace
}  // namespace adder::dna
