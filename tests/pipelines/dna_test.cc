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
    std::vector<uint8_t> symbols;
    encode(letters, symbols, counts);
    return symbols;
}

// Ids and weights of all tokens of these letters.
std::pair<std::vector<uint16_t>, std::vector<float>> tokens(const std::string& letters, const DnaOptions& options = {},
                                                            bool reverse = false) {
    const auto tokenizer = make_tokenizer(options);
    const std::vector<uint8_t> symbols = encode(letters);
    std::vector<uint16_t> ids(static_cast<size_t>(tokenizer->n_tokens(static_cast<int64_t>(symbols.size()))));
    std::vector<float> weights(ids.size());
    tokenizer->write(symbols, 0, static_cast<int64_t>(ids.size()), reverse, ids.data(), weights.data());
    return {ids, weights};
}
std::vector<uint16_t> ids(const std::string& letters, const DnaOptions& options = {}, bool reverse = false) {
    return tokens(letters, options, reverse).first;
}
DnaOptions kmers(int64_t k, double mask_weight = 1) { return {.tokenizer = "kmer", .kmer = k, .mask_weight = mask_weight}; }

TEST(DnaTokenizer, ids_are_those_of_hyenadna_and_caduceus) {
    EXPECT_THAT(ids("ACGTN"), ElementsAre(7, 8, 9, 10, 11));
    EXPECT_EQ(make_tokenizer({})->vocabulary(), 12);
    EXPECT_EQ(make_tokenizer({})->pad(), 4);
}

TEST(DnaTokenizer, lower_case_is_upper_u_is_t_and_every_other_letter_is_n) {
    EXPECT_EQ(ids("acgtn"), ids("ACGTN"));
    EXPECT_EQ(ids("Uu"), ids("TT"));
    for (const char c : std::string_view("BDEFHIJKLMNOPQRSVWXYZ"))
        EXPECT_EQ(ids({c, static_cast<char>(c + 32)}), ids("NN"));
}

TEST(DnaTokenizer, only_acgt_is_scored_and_lower_case_as_much_as_asked) {
    EXPECT_THAT(tokens("ACGTUNRXacgtunrx").second, ElementsAre(1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0));
    const DnaOptions half{.mask_weight = 0.5}, none{.mask_weight = 0};
    EXPECT_THAT(tokens("AcNnT", half).second, ElementsAre(1, 0.5, 0, 0, 1));
    EXPECT_THAT(tokens("AcNnT", none).second, ElementsAre(1, 0, 0, 0, 1));
    EXPECT_EQ(ids("AcNnT", none), ids("ACNNT"));
    EXPECT_THAT(tokens("aCtG", half, true).second, ElementsAre(1, 0.5, 1, 0.5));
}

TEST(DnaTokenizer, the_other_strand_is_the_reverse_complement) {
    EXPECT_EQ(ids("GATTACANu", {}, true), ids("ANTGTAATC"));
    EXPECT_EQ(ids("GATTACAN", kmers(2), true), ids("NTGTAATC", kmers(2)));
    EXPECT_EQ(ids("GATTACAN", kmers(4), true), ids("NTGTAATC", kmers(4)));
}

TEST(DnaTokenizer, a_kmer_is_one_token_and_one_with_an_n_is_not_scored) {
    EXPECT_EQ(make_tokenizer(kmers(3))->vocabulary(), 7 + 64 + 1);
    EXPECT_THAT(ids("AAAAACTTTNAAGATTA", kmers(3)), ElementsAre(7, 7 + 1, 7 + 63, 7 + 64, 7 + 2 * 16 + 3));
    EXPECT_THAT(tokens("AAAAaCtttNAA", kmers(3, 0.25)).second, ElementsAre(1, 0.75, 0.25, 0));
    EXPECT_EQ(make_tokenizer(kmers(3))->token(), "3-mer");
    EXPECT_EQ(make_tokenizer(kmers(kLongestKmer))->vocabulary(), 7 + 16384 + 1);
}

TEST(DnaTokenizer, kmers_of_one_base_are_characters) {
    const std::string letters = "GATtacaNNryAC";
    EXPECT_EQ(tokens(letters, kmers(1, 0.5)), tokens(letters, {.mask_weight = 0.5}));
    EXPECT_EQ(make_tokenizer(kmers(1))->vocabulary(), make_tokenizer({})->vocabulary());
}

TEST(DnaTokenizer, bases_are_counted_by_kind) {
    BaseCounts counts;
    std::vector<uint8_t> symbols;
    encode("ACGTUNNRacgn", symbols, counts);
    encode("yAX", symbols, counts);
    EXPECT_EQ(symbols.size(), 15u);
    EXPECT_EQ(counts.bases, 15);
    EXPECT_EQ(counts.acgt, 9);
    EXPECT_EQ(counts.n, 3);
    EXPECT_EQ(counts.iupac, 2);
    EXPECT_EQ(counts.other, 1);
    EXPECT_EQ(counts.lower_case, 5);
}

TEST(DnaTokenizer, decode_is_the_inverse_on_bases) {
    EXPECT_EQ(decode(ids("GATTACAN"), {}), "GATTACAN");
    EXPECT_EQ(decode(ids("GATTACANGATT", kmers(4)), kmers(4)), "GATTNNNNGATT");
    EXPECT_EQ(decode(std::vector<uint16_t>{0, 6, 12, 15, 999}, {}), "?????");
    EXPECT_EQ(decode(std::vector<uint16_t>{4, 8, 72}, kmers(3)), "???AAC???");
}

DataOptions input_of(std::vector<std::string> input) {
    DataOptions options;
    options.input = std::move(input);
    return options;
}
Dataset load(std::vector<std::string> input) { return kDomain.load(input_of(std::move(input))); }

TEST(DnaDomain, inputs_become_records_with_a_digest_that_ignores_wrapping_and_compression) {
    Scratch w;
    const std::vector<std::string> wrapped{w.put("a.fa", ">x one\nACGTAC\nGTNN\n>y\nRacg\n")};
    const std::vector<std::string> zipped{w.put("b.fa", bgzip(">x two\nACGTACGTNN\n>y\nNacg"))};
    const Dataset a = load(wrapped);
    const Dataset b = load(zipped);
    ASSERT_EQ(a.records.size(), 2u);
    EXPECT_EQ(a.records[0].name, "x");
    EXPECT_EQ(a.records[1].symbols, encode("Nacg"));
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
        return load(input).warnings;
    };
    EXPECT_THAT(warnings(10), IsEmpty());
    EXPECT_THAT(warnings(11), ElementsAre(HasSubstr("1.1 %")));
}

TEST(DnaDomain, held_out_files_are_kept_apart_from_the_inputs) {
    Scratch w;
    const std::vector<std::string> input{w.put("a.fa", ">x\nACGTACGT\n")},
        valid{w.put("v.fa", ">x\nGGGG\n>y\nCC\n")};
    DataOptions options = input_of(input);
    options.valid = valid;
    const Dataset data = kDomain.load(options);
    EXPECT_EQ(data.train.size(), 1u);
    ASSERT_EQ(data.valid.size(), 2u);
    EXPECT_EQ(data.records[static_cast<size_t>(data.valid[1].record)].symbols, encode("CC"));
    EXPECT_EQ(data.digest, load(input).digest);
    EXPECT_EQ(data.valid_digest, load(valid).digest);
    options.valid_fraction = 0.5;
    EXPECT_THAT(error_of([&] { kDomain.load(options); }),
                HasSubstr("not both"));
}

TEST(DnaDomain, a_prompt_is_text_or_the_only_record_of_a_file) {
    Scratch w;
    EXPECT_EQ(kDomain.read_prompt("acgN", {}), ids("ACGN"));
    EXPECT_EQ(kDomain.read_prompt(w.put("p.fa", ">p\nGATT\nACA\n"), {}), ids("GATTACA"));
    EXPECT_THAT(error_of([&] { kDomain.read_prompt(w.put("two.fa", ">p\nG\n>q\nC\n"), {}); }),
                HasSubstr("one record"));
    EXPECT_THAT(error_of([] { kDomain.read_prompt("no/such.fa", {}); }), HasSubstr("no file of this name"));
    EXPECT_THAT(error_of([] { kDomain.read_prompt("", {}); }), HasSubstr("is empty"));
}

TEST(DnaDomain, is_found_by_name_and_unknown_names_list_the_known) {
    EXPECT_EQ(&find_domain("dna"), &kDomain);
    EXPECT_THROW(find_domain("rna"), UsageError);
    EXPECT_THAT(error_of([] { find_domain("rna"); }), HasSubstr("the domains are dna"));
    for (const Domain* d : domains()) {
        EXPECT_TRUE(d->load && d->evaluate && d->read_prompt && d->alphabet && d->append_sample && d->reverse);
        EXPECT_TRUE(d->defaults().is_object());
        for (const uint16_t id : d->alphabet({}, true)) EXPECT_LT(id, d->make_tokenizer({})->vocabulary());
    }
}

TEST(DnaDomain, the_embedded_phage_genome_is_read) {
    const std::vector<std::string> input{std::string(ADDER_SOURCE_DIR) + "/datasets/data/phage_lambda.fa.gz"};
    DataOptions options = input_of(input);
    options.valid_fraction = 0.2;
    const Dataset data = kDomain.load(options);
    ASSERT_EQ(data.records.size(), 1u);
    EXPECT_EQ(data.records[0].symbols.size(), 48502u);
    EXPECT_EQ(data.records[0].name, "NC_001416.1");
    const std::vector<Baseline> rows = kDomain.evaluate(data, data.valid, std::array<int64_t, 2>{2, 6});
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
