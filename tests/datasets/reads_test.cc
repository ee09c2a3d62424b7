#include "datasets/reads.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/rng.h"
#include "datasets/fasta.h"
#include "tests/datasets/alignments.h"
#include "tests/datasets/compress.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string phred33(std::string_view qualities) {
    std::string s(qualities);
    for (char& q : s) q = static_cast<char>(q + 33);
    return s;
}

std::vector<std::string> read_all(const std::string& path, const ReadFilter& filter = {},
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

std::string bases(int64_t n, uint64_t seed = 1) {
    const Philox rng(seed, Stream::test);
    std::string s(static_cast<size_t>(n), 'A');
    for (size_t i = 0; i < s.size(); ++i) s[i] = "ACGT"[rng.below(4, i)];
    return s;
}

// ---- FASTQ

TEST(Fastq, plain_gzip_bgzip_and_standard_input_are_read_alike) {
    Scratch w;
    std::string text;
    std::vector<std::string> want;
    for (int i = 0; i < 3000; ++i) {
        const std::string s = bases(1 + i % 200, static_cast<uint64_t>(i)),
                          q(s.size(), static_cast<char>('!' + i % 94));
        text += fmt::format("@r{} x\n{}\n+\n{}\n", i, s, q);
        want.push_back(fmt::format("r{} {} {}", i, s, q));
    }
    EXPECT_EQ(read_all(w.put("a", text)), want);
    EXPECT_EQ(read_all(w.put("b.fa", gzip(text))), want);
    EXPECT_EQ(read_all(w.put("c.bam", bgzip(text))), want);
    EXPECT_EQ(read_all(w.put("d", bgzip(text, 997))), want);
    const size_t half = text.size() / 2;
    EXPECT_EQ(read_all(w.put("e", gzip(text.substr(0, half)) + gzip(text.substr(half)))), want);

    const int saved = ::dup(STDIN_FILENO), fd = ::open(w.put("f", gzip(text)).c_str(), O_RDONLY);
    ::dup2(fd, STDIN_FILENO);
    EXPECT_EQ(read_all("-"), want);
    ::dup2(saved, STDIN_FILENO);
    ::close(saved);
    ::close(fd);
}

TEST(Fastq, wrapping_line_ends_and_blank_lines_do_not_matter) {
    Scratch w;
    const std::vector<std::string> want{"a ACGTAC IIIII#", "b GG !~"};
    for (const char* text : {
             "@a\nACGTAC\n+\nIIIII#\n@b\nGG\n+\n!~\n",
             "@a\r\nACGTAC\r\n+\r\nIIIII#\r\n@b\r\nGG\r\n+\r\n!~",
             "\n\n@a\nACGTAC\n+a\nIIIII#\n\n\n@b\nGG\n+b\n!~\n\n",
             "@a x\nACG\nTAC\n+a x\nIII\nII#\n@b\nG\nG\n+\n!\n~\n",
             "@a\nAC\nGT\n\nAC\n+\nIIIII#\n@b\nG\nG\n+\n!~\n",
             "@ a\nACGTAC \n+\nIIIII#\t\n@b \nGG\n+ \n!~ \n",
         })
        EXPECT_EQ(read_all(w.put("f", text)), want) << text;
}

TEST(Fastq, qualities_that_look_like_headers_and_separators_are_qualities) {
    Scratch w;
    EXPECT_THAT(
        read_all(w.put("f", "@a\nACGT\n+\n@@@@\n@b\nACGT\n+\n+III\n@c\nAC\nGT\n+\n@c\n+I\n@d\nA\n+\n@\n")),
        ElementsAre("a ACGT @@@@", "b ACGT +III", "c ACGT @c+I", "d A @"));
}

TEST(Fastq, letters_keep_their_case_dots_are_n_and_mates_keep_their_number) {
    Scratch w;
    EXPECT_THAT(
        read_all(w.put("f",
                       "@r 1:N:0:ATC\nac.TN\n+\nIIIII\n@r 2:N:0:ATC\nA\n+\nI\n@s/1 1:N:0:ATC\nA\n+\nI\n"
                       "@t 3:N:0:A\nA\n+\nI\n@r\nA\n+\nI\n@r\nC\n+\nI\n")),
        ElementsAre("r/1 acNTN IIIII", "r/2 A I", "s/1 A I", "t A I", "r A I", "r C I"));
}

TEST(Fastq, gaps_and_stops_are_left_out_with_their_qualities_and_counted) {
    Scratch w;
    ReadCounts counts;
    EXPECT_THAT(read_all(w.put("f", "@a\n-AC*G\n+\n#IJ#K\n@b\nT\n+\nI\n@c\n--\n+\nII\n"), {}, "", &counts),
                ElementsAre("a ACG IJK", "b T I"));
    EXPECT_EQ(counts.skipped, 2);
    EXPECT_EQ(counts.empty, 1);
}

TEST(Fastq, reads_without_bases_and_those_that_failed_the_machines_filter_are_dropped_and_counted) {
    Scratch w;
    ReadCounts counts;
    EXPECT_THAT(read_all(w.put("f", "@a\n\n+\n\n@b\nA\n+\nI\n@c\n+\n@d 1:Y:0:A\nC\n+\nI\n@e\n\n+\n"), {}, "",
                         &counts),
                ElementsAre("b A I"));
    EXPECT_EQ(counts.read, 5);
    EXPECT_EQ(counts.empty, 3);
    EXPECT_EQ(counts.qc_fail, 1);
}

TEST(Fastq, one_read_longer_than_any_buffer_is_read_whole) {
    Scratch w;
    const std::string s = bases(1'500'000), q(s.size(), '+');
    EXPECT_THAT(read_all(w.put("f", "@long\n" + s + "\n+\n" + q + "\n@b\nA\n+\nI\n")),
                ElementsAre("long " + s + " " + q, "b A I"));
}

TEST(Fastq, bad_input_is_one_line_naming_file_record_line_and_remedy) {
    Scratch w;
    struct Case {
        std::string bytes;
        const char* says;
    };
    const std::string good = "@g\nACGT\n+\nIIII\n";
    const Case cases[] = {
        {good + "@a\nACGT\n+\nIII\n",
         "record 2 (a), line 8: its sequence has 4 bases and its qualities are 3"},
        {good + "@a\nACGT\n+\nIII\n" + good,
         "record 2 (a), line 8: its sequence has 4 bases and its qualities are 3"},
        {good + "@a\nACGT\n+\nIIIII\n",
         "record 2 (a), line 8: its sequence has 4 bases and its qualities are 5"},
        {"@a\nAC\nGT\n+\nII\nIII\n",
         "record 1 (a), line 6: its sequence has 4 bases and its qualities are 5"},
        {"@a\nAC\nGT\n+\nII\n", "are 2; hint: the file is cut short"},
        {"@a\n\n+\nII\n", "its sequence has 0 bases and its qualities are 2"},
        {"@a\nACGT\n+\n",
         "record 1 (a), line 3: its sequence has 4 bases and its qualities are 0; hint: the file is cut"},
        {"@a\nACGT\n", "record 1 (a), line 2: cut short: its '+' line"},
        {"@a", "record 1 (a), line 1: cut short"},
        {good + "@", "record 2, line 5: the header has no name"},
        {good + "ACGT\n", "record 2 (after g), line 5: expected a header that begins with '@', got 'A'"},
        {good + ">a\nACGT\n", "line 5: expected a header that begins with '@', got '>'"},
        {"@a\nACGT\n@b\nACGT\n",
         "record 1 (a), line 3: column 1: expected a letter, got '@'; hint: is the '+' line missing"},
        {"@a\nAC1T\n+\nIIII\n", "line 2: column 3: expected a letter, got '1'"},
        {"@a\nACGT\n+\nII I\n", "line 4: column 3: expected a quality ('!' to '~'), got byte 0x20"},
        {"@a\nACGT\n+\nII\x7fI\n", "got byte 0x7f"},
        {"@a\nACGT\n+b\nIIII\n", "record 1 (a), line 3: the '+' line names another record, b"},
        {"@a\rACGT\r+\rIIII\r", "lines end in \\r alone"},
        {std::string("@a\0b\nA\n+\nI\n", 11), "the header holds byte 0x00"},
        {"@" + std::string(2'000'000, 'x'), "the header is longer than"},
        {bgzf_block(good) + bgzf_block(good).substr(0, 25),
         "record 2, line 4: the compressed data is damaged or cut short"},
        {bgzf_block(good), "the end block of bgzip is missing"},
    };
    for (const Case& c : cases) {
        const std::string path = w.put("bad.fq", c.bytes);
        const std::string what = error_of([&] { read_all(path); });
        EXPECT_THAT(what, AllOf(HasSubstr(c.says), HasSubstr(path), HasSubstr("hint: ")));
        EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    }
}

// ---- filters

TEST(ReadFilter, mean_quality_is_that_of_the_mean_error_probability) {
    const std::string good_and_bad{40, 40, 40, 2};  // the mean of the Phred values would be 30.5
    EXPECT_NEAR(mean_quality(good_and_bad), -10 * std::log10((3e-4 + std::pow(10, -0.2)) / 4), 1e-12);
    EXPECT_NEAR(mean_quality(good_and_bad), 8.02, 0.005);
    EXPECT_NEAR(mean_quality(std::string(7, 20)), 20, 1e-12);
}

TEST(ReadFilter, drops_are_counted_by_their_first_reason_and_low_bases_become_n) {
    Scratch w;
    const std::string path = w.put(
        "f", "@short\nACG\n+\nIII\n@bad\nACGTA\n+\nIII##\n@good\nACgTA\n+\nII+5I\n@edge\nACGTA\n+\n55555\n");
    ReadCounts counts;
    const ReadFilter filter{.min_length = 4, .min_quality = 15, .min_base_quality = 20};
    EXPECT_THAT(read_all(path, filter, "", &counts), ElementsAre("good ACNTA II+5I", "edge ACGTA 55555"));
    EXPECT_EQ(counts.read, 4);
    EXPECT_EQ(counts.kept, 2);
    EXPECT_EQ(counts.dropped(), 2);
    EXPECT_EQ(counts.too_short, 1);
    EXPECT_EQ(counts.low_quality, 1);
    EXPECT_EQ(counts.kept_bases, 10);
    EXPECT_EQ(counts.masked_bases, 1);
    EXPECT_EQ(counts.text(filter),
              "4 reads, 2 kept (10 bases), 2 dropped: 1 shorter than 4 bases, 1 of mean quality below 15; of "
              "the kept: 1 "
              "bases of quality below 20 read as N");
    ReadCounts twice = counts;
    twice += counts;
    EXPECT_EQ(twice.masked_bases, 2);
    EXPECT_EQ(twice.text({}).substr(0, 32), "8 reads, 4 kept (20 bases), 4 dr");
    EXPECT_EQ(read_all(path, {.min_length = 3, .min_quality = 0, .min_base_quality = 0}).size(), 4u);
}

// ---- SAM, BAM, CRAM

const std::string kReference = bases(2000, 5);

std::string header() {
    return "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:2000\n";
}

std::string aligned(const std::string& name, int flags, int64_t at, int64_t n,
                    const std::string& qualities = "") {
    return fmt::format("{}\t{}\tchr1\t{}\t60\t{}M\t*\t0\t0\t{}\t{}\n", name, flags, at + 1, n,
                       kReference.substr(static_cast<size_t>(at), static_cast<size_t>(n)),
                       qualities.empty() ? std::string(static_cast<size_t>(n), 'I') : qualities);
}

std::string reverse_complement(std::string s) {
    std::reverse(s.begin(), s.end());
    for (char& c : s) c = c == 'A' ? 'T' : c == 'C' ? 'G' : c == 'G' ? 'C' : c == 'T' ? 'A' : c;
    return s;
}

// Every kind of record once.
std::string specimen() {
    return header() + aligned("fwd", 0, 10, 20) + aligned("rev", 16, 30, 6, "ABCDEF") +
           aligned("second", 256, 40, 5) + aligned("supp", 2048, 40, 5) + aligned("dup", 1024, 40, 5) +
           aligned("fail", 512, 40, 5) + aligned("pair", 99, 50, 5) + aligned("pair", 147, 60, 5) +
           aligned("both", 1 | 64 | 128, 70, 5) + "noqual\t4\t*\t0\t0\t*\t*\t0\t0\tACGTN\t*\n" +
           "noseq\t4\t*\t0\t0\t*\t*\t0\t0\t*\t*\n" +
           "codes\t20\t*\t0\t0\t*\t*\t0\t0\tACGTMRWSYKVHDBN\tABCDEFGHIJKLMNO\n";
}

std::vector<std::string> specimen_reads() {
    const auto part = [](size_t at, size_t n) { return kReference.substr(at, n); };
    return {"fwd " + part(10, 20) + " " + std::string(20, 'I'),
            "rev " + reverse_complement(part(30, 6)) + " FEDCBA",
            "pair/1 " + part(50, 5) + " IIIII",
            "pair/2 " + reverse_complement(part(60, 5)) + " IIIII",
            "both " + part(70, 5) + " IIIII",
            "noqual ACGTN ",
            "codes NVHDBMRSWYKACGT ONMLKJIHGFEDCBA"};
}

TEST(Alignments, sam_bam_and_cram_give_the_reads_as_they_were_read) {
    Scratch w;
    const std::string fasta = w.put("ref.fa", ">chr1\n" + kReference + "\n");
    for (const char* mode : {"w", "wz", "wb", "wc"}) {
        ReadCounts counts;
        const std::string path = write_alignments(w, "reads", specimen(), mode, fasta);
        EXPECT_EQ(read_all(path, {}, fasta, &counts), specimen_reads()) << mode;
        EXPECT_EQ(
            counts.text({}),
            "12 reads, 7 kept (61 bases), 5 dropped: 1 secondary, 1 supplementary, 1 duplicate, 1 QC-fail, 1 "
            "without sequence; of the kept: 3 turned back to read orientation, 1 without qualities")
            << mode;
    }
    EXPECT_EQ(read_all(w.put("no_header", "a\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\tIIII\n")),
              std::vector<std::string>{"a ACGT IIII"});
}

TEST(Alignments, formats_are_known_by_content_and_nothing_is_lost_from_a_pipe) {
    Scratch w;
    const std::string fasta = w.put("ref.fa", ">chr1\n" + kReference + "\n");
    const std::pair<const char*, SequenceFormat> cases[] = {{"w", SequenceFormat::sam},
                                                            {"wz", SequenceFormat::sam},
                                                            {"wb", SequenceFormat::bam},
                                                            {"wc", SequenceFormat::cram}};
    for (const auto& [mode, format] : cases) {
        const std::string bytes = [&] {
            write_alignments(w, "reads.fq", specimen(), mode, fasta);
            return w.get("reads.fq");
        }();
        EXPECT_EQ(InputFile(w.path("reads.fq")).format(), format);
        int ends[2];
        ASSERT_EQ(::pipe(ends), 0);
        ASSERT_EQ(::write(ends[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
        ::close(ends[1]);
        const int saved = ::dup(STDIN_FILENO);
        ::dup2(ends[0], STDIN_FILENO);
        EXPECT_EQ(read_all("-", {}, fasta), specimen_reads()) << mode;
        ::dup2(saved, STDIN_FILENO);
        ::close(saved);
        ::close(ends[0]);
    }
    EXPECT_EQ(InputFile(w.put("x", "\n>a\nA\n")).format(), SequenceFormat::fasta);
    EXPECT_EQ(InputFile(w.put("x", gzip(" \n@a\nA\n+\nI\n"))).format(), SequenceFormat::fastq);
    EXPECT_EQ(InputFile(w.put("x", "")).format(), SequenceFormat::other);
    EXPECT_EQ(InputFile(w.put("x", "{\"htsget\": {}}")).format(), SequenceFormat::other);
    EXPECT_THAT(error_of([&] { read_all(w.put("x", ">a\nA\n")); }),
                HasSubstr("expected FASTQ, SAM, BAM or CRAM, got FASTA"));
    EXPECT_THAT(error_of([&] {
                    FastaReader reader(w.path("reads.fq"));
                    FastaRecord record;
                    reader.next(record);
                }),
                HasSubstr("is a CRAM file, not FASTA"));
}

TEST(Alignments, reads_without_qualities_pass_unless_the_filter_needs_them) {
    Scratch w;
    const std::string path =
        write_alignments(w, "r", header() + "a\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\t*\n", "wb");
    ReadCounts counts;
    EXPECT_EQ(read_all(path, {}, "", &counts).size(), 1u);
    EXPECT_EQ(counts.without_qualities, 1);
    for (const ReadFilter& filter : {ReadFilter{0, 1, 0}, ReadFilter{0, 0, 1}}) {
        EXPECT_EQ(read_all(path, filter, "", &counts).size(), 0u);
        EXPECT_EQ(counts.unknown_quality, 1);
        EXPECT_EQ(counts.text(filter), "1 reads, 0 kept (0 bases), 1 dropped: 1 without qualities");
    }
}

TEST(Alignments, bases_given_as_those_of_the_reference_are_n) {
    Scratch w;
    ReadCounts counts;
    EXPECT_THAT(read_all(w.put("s", "a\t4\t*\t0\t0\t*\t*\t0\t0\tAC=T\tIIII\n"), {}, "", &counts),
                ElementsAre("a ACNT IIII"));
    EXPECT_EQ(counts.unresolved_bases, 1);
}

TEST(Alignments, a_file_without_its_end_block_is_an_error_that_names_the_last_record) {
    Scratch w;
    const std::string fasta = w.put("ref.fa", ">chr1\n" + kReference + "\n");
    write_alignments(w, "r", specimen(), "wb");
    const std::string bam = w.get("r");
    EXPECT_THAT(error_of([&] { read_all(w.put("cut", bam.substr(0, bam.size() - 28))); }),
                AllOf(HasSubstr(w.path("cut")), HasSubstr("record 13 (after codes)"),
                      HasSubstr("cut short: the end block"), HasSubstr("hint: ")));
    write_alignments(w, "c", specimen(), "wc", fasta);
    const std::string cram = w.get("c");
    EXPECT_THAT(error_of([&] { read_all(w.put("cut", cram.substr(0, cram.size() - 38)), {}, fasta); }),
                AllOf(HasSubstr("record 13 (after codes)"), HasSubstr("cut short: the end block")));
}

TEST(Alignments, damaged_records_are_errors_that_name_record_and_place) {
    Scratch w;
    EXPECT_THAT(error_of([&] {
                    read_all(w.put("s", header() + aligned("a", 0, 1, 4) +
                                            "b\t0\tchr1\t1\t60\t4M\t*\t0\t0\tACGT\tIII\n"));
                }),
                AllOf(HasSubstr("record 2 (after a), line 4"), HasSubstr("hint: ")));
    const std::string whole = gunzip(write_alignments(w, "b", specimen(), "wb"));
    EXPECT_EQ(read_all(w.put("plain", whole)), specimen_reads());
    EXPECT_THAT(error_of([&] { read_all(w.put("cut", whole.substr(0, whole.size() - 5))); }),
                AllOf(HasSubstr("record 12 (after noseq)"), HasSubstr("damaged or cut short")));
    EXPECT_THAT(error_of([&] { read_all(w.put("cut", whole.substr(0, 20))); }),
                HasSubstr("the header of this BAM file"));
}

// ---- CRAM and its reference

class CramReference : public testing::Test {
  protected:
    void SetUp() override {
        fasta = w.put("ref.fa", ">chr1\n" + kReference + "\n");
        cram = write_alignments(w, "r.cram", specimen(), "wc", fasta);
    }
    Scratch w;
    std::string fasta, cram;
};

TEST_F(CramReference, without_it_reading_fails_and_says_so) {
    EXPECT_THAT(error_of([&] { read_all(cram); }),
                AllOf(HasSubstr(cram), HasSubstr("record 1"), HasSubstr("hint: --reference FASTA")));
}

TEST_F(CramReference, one_that_is_missing_wrong_or_lacks_the_contig_is_an_error) {
    EXPECT_THAT(error_of([&] { read_all(cram, {}, w.path("none.fa")); }),
                AllOf(HasSubstr("none.fa"), HasSubstr("no such file")));
    const std::string zipped = w.put("ref.fa.gz", gzip(">chr1\n" + kReference + "\n"));
    EXPECT_THAT(error_of([&] { read_all(cram, {}, zipped); }),
                AllOf(HasSubstr(zipped), HasSubstr("cannot be used")));
    const std::string other_name = w.put("name.fa", ">chr2\n" + kReference + "\n");
    EXPECT_THAT(error_of([&] { read_all(cram, {}, other_name); }),
                HasSubstr("the reference lacks its contig or has other letters"));
    const std::string other_letters = w.put("letters.fa", ">chr1\n" + bases(2000, 6) + "\n");
    EXPECT_THAT(error_of([&] { read_all(cram, {}, other_letters); }), HasSubstr("has other letters"));
    EXPECT_EQ(read_all(cram, {}, w.put("ref.bgz", bgzip(">chr1\n" + kReference + "\n"))), specimen_reads());
}

// The letters lie where htslib would look for them: by checksum in REF_PATH and REF_CACHE, by path in the
// header (UR).
TEST_F(CramReference, no_other_place_is_asked_for_it) {
    const std::string md5 = [&] {
        const std::string text =
            w.get("r.cram");  // small enough that the header is kept uncompressed or not: ask htslib
        std::unique_ptr<htsFile, int (*)(htsFile*)> f(hts_open(cram.c_str(), "r"), hts_close);
        std::unique_ptr<sam_hdr_t, void (*)(sam_hdr_t*)> h(sam_hdr_read(f.get()), sam_hdr_destroy);
        kstring_t m5 = {0, 0, nullptr};
        EXPECT_EQ(sam_hdr_find_tag_id(h.get(), "SQ", "SN", "chr1", "M5", &m5), 0);
        EXPECT_EQ(sam_hdr_find_tag_id(h.get(), "SQ", "SN", "chr1", "UR", &m5), 0);
        sam_hdr_find_tag_id(h.get(), "SQ", "SN", "chr1", "M5", &m5);
        const std::string s(m5.s, m5.l);
        free(m5.s);
        return s;
    }();
    ASSERT_EQ(md5.size(), 32u);
    const std::string letters = w.put(md5, kReference);
    ::setenv("REF_PATH", (w.folder() + "/%s").c_str(), 1);
    ::setenv("REF_CACHE", (w.folder() + "/%s").c_str(), 1);
    {
        // The trap works: htslib alone finds them.
        std::unique_ptr<htsFile, int (*)(htsFile*)> f(hts_open(cram.c_str(), "r"), hts_close);
        std::unique_ptr<sam_hdr_t, void (*)(sam_hdr_t*)> h(sam_hdr_read(f.get()), sam_hdr_destroy);
        std::unique_ptr<bam1_t, void (*)(bam1_t*)> b(bam_init1(), bam_destroy1);
        EXPECT_GE(sam_read1(f.get(), h.get(), b.get()), 0);
    }
    EXPECT_THAT(error_of([&] { read_all(cram); }), HasSubstr("--reference FASTA"));
    const std::string other_name = w.put("name.fa", ">chr2\n" + kReference + "\n");
    EXPECT_THAT(error_of([&] { read_all(cram, {}, other_name); }),
                HasSubstr("the reference lacks its contig"));
    ::unsetenv("REF_PATH");
    ::unsetenv("REF_CACHE");
}

TEST_F(CramReference, is_not_needed_where_the_letters_are_in_the_file) {
    const std::string own = write_alignments(w, "own.cram", specimen(), "wc", "no_ref");
    EXPECT_EQ(read_all(own), specimen_reads());
}

}  // namespace
}  // namespace adder
