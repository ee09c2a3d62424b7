#include "datasets/reads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "datasets/fasta.h"
#include "tests/datasets/alignments.h"
#include "tests/datasets/compress.h"
#include "tests/datasets/read_lines.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

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
