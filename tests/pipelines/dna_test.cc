#include "pipelines/dna/dna.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/rng.h"
#include "pipelines/dna/context_model.h"
#include "pipelines/dna/tokenizer.h"
#include "pipelines/windows.h"
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

TEST(DnaDomain, what_is_odd_but_valid_is_read_and_counted) {
    Scratch w;
    const Dataset data = load({w.put("a.fa", ">x\r\nac gu\r\nRN-*n\r\n\r\n>one\r\nA\n>all_n\nNNNN")});
    ASSERT_EQ(data.records.size(), 3u);
    EXPECT_EQ(data.records[0].symbols, encode("acguRNn"));
    EXPECT_THAT(data.report, Contains(HasSubstr("3 records, 12 bases, 2 '-', '.' and '*' skipped")));
    EXPECT_THAT(data.warnings, Contains(HasSubstr("1 segment(s) of a single base")));
}

TEST(DnaDomain, two_records_of_one_name_are_an_error_within_a_file_and_qualified_across_files) {
    Scratch w;
    EXPECT_THAT(error_of([&] { load({w.put("a.fa", ">x 1\nA\n>y\nA\n>x 2\nC\n")}); }),
                AllOf(HasSubstr("a.fa"), HasSubstr("two records are called x")));
    const Dataset data = load({w.put("a.fa", ">x\nAC\n>y\nAC\n"), w.put("b.fa", ">x\nGG\n")});
    EXPECT_EQ(data.records[0].name, "a.fa:x");
    EXPECT_EQ(data.records[1].name, "y");
    EXPECT_EQ(data.records[2].name, "b.fa:x");
    DataOptions options = input_of({w.path("a.fa"), w.path("b.fa")});
    options.valid_contigs = "x";
    EXPECT_THAT(error_of([&] { kDomain.load(options); }), HasSubstr("x is the name of several records"));
    options.valid_contigs = "b.fa:x";
    EXPECT_EQ(kDomain.load(options).valid[0].record, 2);
}

TEST(DnaDomain, over_five_percent_of_other_letters_look_like_protein) {
    Scratch w;
    const std::string bases(95, 'A');
    const Dataset data = load({w.put("a.fa", ">x\n" + bases + "EFXJO\n")});
    EXPECT_EQ(data.records[0].symbols, encode(bases + "NNNNN"));
    EXPECT_THAT(data.report, Contains(HasSubstr("other letters 5 (read as N)")));
    EXPECT_THAT(error_of([&] { load({w.put("p.fa", ">x\n" + bases + "EFXJOE\n")}); }),
                AllOf(HasSubstr("p.fa"), HasSubstr("looks like protein")));
}

TEST(DnaDomain, short_records_are_left_out_and_counted) {
    Scratch w;
    DataOptions options = input_of({w.put("a.fa", ">x\nACG\n>y\nACGT\n>z\nA\n")});
    options.dna.min_length = 4;
    const Dataset data = kDomain.load(options);
    ASSERT_EQ(data.records.size(), 1u);
    EXPECT_EQ(data.records[0].name, "y");
    EXPECT_THAT(data.report, Contains(HasSubstr("1 records, 4 bases, 2 records shorter than 4 left out")));
}

// Peak memory of this process in bytes, as Linux counts it.
int64_t peak_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6)) * 1024;
    return 0;
}

TEST(DnaDomain, one_long_line_takes_a_byte_a_base) {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "the sanitizer keeps freed memory";
#endif
    Scratch w;
    constexpr int64_t kMiB = 1 << 20, kBases = 160 * kMiB;
    {
        std::ofstream out(w.path("long.fa"), std::ios::binary);
        out << ">line\n";
        const std::string piece(kMiB, 'G');
        for (int64_t n = 0; n < kBases; n += kMiB) out << piece;
    }
    const int64_t before = peak_bytes();
    const Dataset data = load({w.path("long.fa")});
    EXPECT_EQ(data.records[0].symbols.size(), static_cast<size_t>(kBases));
    EXPECT_EQ(data.records[0].symbols.back(), kBaseG);
    EXPECT_LT(peak_bytes() - before, kBases + 80 * kMiB);
}

// Everything that is held out is overwritten by one letter: the batches stay what they were.
TEST(DnaDomain, training_never_reads_what_is_held_out_not_even_as_left_context) {
    Scratch w;
    std::string genome;
    const Philox rng(2, Stream::test);
    for (uint64_t i = 0; i < 6000; ++i) genome += "ACGT"[rng.below(4, i)];
    const auto fasta = [&](const std::string& s) { return ">a\n" + s.substr(0, 4000) + "\n>b\n" + s.substr(4000) + "\n"; };
    const auto batches = [&](DataOptions options, const std::string& path) {
        options.input = {path};
        const Dataset data = kDomain.load(options);
        const WindowSampler sampler(data.records, data.train, *data.tokenizer, {{{1000, 64, 2}}, 1, 1, 0.5});
        std::string all;
        for (int64_t step = 0; step < 60; ++step) {
            Batch batch(2, 64);
            sampler.fill(step, 0, batch);
            for (const Tensor* t : {&batch.ids, &batch.targets, &batch.weights, &batch.start})
                all.append(static_cast<const char*>(t->ref().data), static_cast<size_t>(t->ref().bytes()));
        }
        return all;
    };
    DataOptions by_bed, by_fraction, by_contig, kmers_by_bed;
    by_bed.split_bed = w.put("s.bed", "a\t1000\t2500\ttrain\na\t2500\t3000\tvalid\na\t0\t700\ttest\nb\t0\t500\ttrain\n");
    by_fraction.valid_fraction = by_fraction.test_fraction = 0.1;
    by_fraction.gap = 50;
    by_contig.valid_contigs = "b";
    kmers_by_bed = by_bed;
    kmers_by_bed.dna = kmers(3);
    for (const DataOptions& options : {by_bed, by_fraction, by_contig, kmers_by_bed}) {
        DataOptions whole = options;
        whole.input = {w.put("whole.fa", fasta(genome))};
        const Dataset data = kDomain.load(whole);
        std::string poisoned(genome.size(), 'T');
        for (const Segment& s : data.train) {
            const size_t at = static_cast<size_t>(s.begin) + (s.record == 1 ? 4000 : 0), n = static_cast<size_t>(s.size());
            poisoned.replace(at, n, genome, at, n);
        }
        ASSERT_NE(poisoned, genome);
        const std::string want = batches(options, w.path("whole.fa"));
        EXPECT_EQ(batches(options, w.put("poisoned.fa", fasta(poisoned))), want);
        const size_t last = static_cast<size_t>(data.train[0].end) - 2;  // of the train part: it does matter
        poisoned[last] = poisoned[last] == 'A' ? 'C' : 'A';
        EXPECT_NE(batches(options, w.put("poisoned.fa", fasta(poisoned))), want);
    }
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
        EXPECT_TRUE(d->load && d->evaluate && d->read_prompt && d->alphabet && (d->append_sample || d->signal) && d->reverse);
        EXPECT_TRUE(d->defaults().is_object());
        for (const uint16_t id : d->alphabet({}, true, 0)) EXPECT_LT(id, d->make_tokenizer({})->vocabulary());
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
    const std::vector<Baseline> rows =
        kDomain.evaluate(data, data.valid, std::array<int64_t, 2>{2, 6}, *data.tokenizer);
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[0].tokens, 9699);
    EXPECT_GT(rows[0].bits_per_token, 1.9);
    EXPECT_LT(rows[0].bits_per_token, 2.0);
}

}  // namespace
}  // namespace adder::dna
