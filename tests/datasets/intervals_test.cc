#include "datasets/intervals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/datasets/compress.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string joined(const BedFile& bed) {
    std::string s;
    for (const Interval& i : bed.intervals)
        s += fmt::format("{}|{}|{}|{}|{}|{}\n", i.contig, i.begin, i.end, i.name, i.strand, i.line);
    return s;
}

TEST(Bed, columns_comments_and_line_ends_are_read) {
    const Scratch scratch;
    const std::string bed =
        scratch.put("a.bed",
                    "browser position chr1:1-2\r\ntrack name=\"x y\"\r\n# comment\r\n\r\n"
                    "chr1\t0\t10\tgene one\t0\t-\t3\t4\t0\t1\t5,\t0,\r\n"
                    "chr2 5 6\n  \nchr3\t7\t9\t\t1000\t+\nchr4  1   2  valid\nchr1\t3\t8");
    EXPECT_EQ(joined(read_bed(bed)),
              "chr1|0|10|gene one|-|5\nchr2|5|6||.|6\nchr3|7|9||+|8\nchr4|1|2|valid|.|9\nchr1|3|8||.|10\n");
    EXPECT_EQ(read_bed(bed).intervals[0].label(), "gene one");
    EXPECT_EQ(read_bed(bed).intervals[1].label(), "chr2:5-6");
}

TEST(Bed, a_line_that_names_the_columns_is_skipped_only_at_the_beginning) {
    const Scratch scratch;
    for (const char* head :
         {"chrom\tstart\tend\tsplit\n", "#x\nchrom\tchromStart\tchromEnd\n", "Chrom chrom_start chrom_end\n"})
        EXPECT_EQ(
            joined(read_bed(scratch.put("a.bed", head + std::string("c\t1\t2\ttrain\n")))).substr(0, 12),
            "c|1|2|train|");
    EXPECT_THAT(error_of([&] { read_bed(scratch.put("a.bed", "c\t1\t2\nchrom\tstart\tend\n")); }),
                HasSubstr("line 2"));
}

TEST(Bed, the_part_of_a_data_set_is_column_four_or_the_column_called_split) {
    const Scratch scratch;
    const auto parts = [&](const std::string& text) {
        std::string s;
        for (const Interval& i : read_bed(scratch.put("a.bed", text)).intervals)
            s += i.split + i.strand + " ";
        return s;
    };
    EXPECT_EQ(parts("c\t1\t2\ttrain\nc\t2\t3\ttest\n"), "train. test. ");
    EXPECT_EQ(parts("chrom\tstart\tend\tsplit\nc\t1\t2\ttrain\n"), "train. ");
    EXPECT_EQ(parts("#chrom\tstart\tend\tname\tgc\tn\tstrand\tsplit\nc\t1\t2\tx\t0.4\t7\t-\tvalid\n"),
              "valid- ");
    EXPECT_EQ(parts("chrom start end gc cov split\nc 1 2 0.4 3 test\n"), "test. ");
    EXPECT_EQ(parts("c\t1\t2\n"), ". ");
}

TEST(Bed, compressed_files_of_one_or_more_members_are_read) {
    const Scratch scratch;
    const std::string text = "c\t1\t2\nd\t3\t4\n";
    for (const std::string& bytes :
         {gzip(text), gzip(text.substr(0, 3)) + gzip(text.substr(3)), bgzip(text, 5)})
        EXPECT_EQ(joined(read_bed(scratch.put("a.bed.gz", bytes))), "c|1|2||.|1\nd|3|4||.|2\n");
    const std::string whole = gzip(std::string(200000, '\n') + text);
    EXPECT_THAT(error_of([&] { read_bed(scratch.put("a.bed.gz", whole.substr(0, whole.size() - 9))); }),
                AllOf(HasSubstr("a.bed.gz"), HasSubstr("cut short")));
    std::string damaged = whole;
    damaged[damaged.size() / 2] = static_cast<char>(~damaged[damaged.size() / 2]);
    EXPECT_THAT(error_of([&] { read_bed(scratch.put("a.bed.gz", damaged)); }), HasSubstr("damaged"));
}

TEST(Bed, what_is_wrong_is_said_with_file_and_line) {
    const Scratch scratch;
    const std::pair<const char*, const char*> wrong[] = {
        {"c\t1\n", "line 1: expected at least chrom, start and end"},
        {"\n\t1\t2\n", "line 2: expected at least"},
        {"c\tx\t2\n", "line 1: start: expected a position counted from 0, got 'x'"},
        {"c\t1\t2e3\n", "line 1: end"},
        {"c\t-1\t2\n", "start"},
        {"c\t1\t\n", "end|columns"},
        {"c\t1\t99999999999999999999\n", "end"},
        {"c\t2\t2\n", "is empty"},
        {"c\t3\t2\n", "is empty"},
        {"c\t1\t2\tn\t0\tminus\n", "strand: expected"},
        {"##gff-version 3\nc\tsource\tgene\t1\t2\n", "line 2: start"},
        {"# nothing\n", "holds no interval"},
        {"", "holds no interval"},
    };
    for (const auto& [text, message] : wrong)
        EXPECT_THAT(error_of([&] { read_bed(scratch.put("a.bed", text)); }),
                    AllOf(HasSubstr("a.bed"), testing::ContainsRegex(message)))
            << text;
    EXPECT_THAT(error_of([&] { read_bed(scratch.path("none.bed")); }), HasSubstr("none.bed: No such file"));
    EXPECT_THAT(error_of([&] { read_bed(scratch.folder()); }), HasSubstr("is a folder"));
    EXPECT_THAT(error_of([&] { read_bed(scratch.put("a.bed", std::string(3 << 20, 'x'))); }),
                HasSubstr("longer than"));
}

TEST(Bed, intervals_find_their_contigs) {
    const Scratch scratch;
    const auto found = [&](const char* text, std::vector<std::string> names, std::vector<int64_t> lengths) {
        return locate(read_bed(scratch.put("a.bed", text)), names, lengths);
    };
    EXPECT_THAT(found("b\t0\t5\na\t0\t3\nb\t1\t2\n", {"a", "b"}, {3, 5}), ElementsAre(1, 0, 1));
    EXPECT_THAT(
        found("b\t0\t5\nx.fa:a\t0\t3\nHLA:1\t0\t1\n", {"x.fa:a", "y.fa:a", "y.fa:b", "HLA:1"}, {3, 3, 5, 1}),
        ElementsAre(2, 0, 3));
    EXPECT_THAT(error_of([&] {
                    found("a\t0\t1\na\t1\t3\nchrl\t0\t1\n", {"a", "chr1"}, {3, 4});
                }),
                AllOf(HasSubstr("a.bed, line 3"), HasSubstr("'chrl'"), HasSubstr("'chr1'")));
    // The same sequence by another assembly's name, before what is spelled alike.
    const auto meant = [&](const std::string& contig, std::vector<std::string> names, std::vector<std::string> others = {}) {
        const std::vector<int64_t> lengths(names.size(), 100);
        return error_of([&] { locate(read_bed(scratch.put("a.bed", contig + "\t0\t1\n")), names, lengths, others); });
    };
    EXPECT_THAT(meant("1", {"2", "chr10", "chr1"}), HasSubstr("no sequence '1'; did you mean 'chr1'?"));
    EXPECT_THAT(meant("chr2", {"chr1", "1", "2"}), HasSubstr("did you mean '2'?"));
    EXPECT_THAT(meant("CHRX", {"chrY", "chrX"}), HasSubstr("did you mean 'chrX'?"));
    EXPECT_THAT(meant("MT", {"chr1", "chrM"}), HasSubstr("did you mean 'chrM'?"));
    EXPECT_THAT(meant("NC_001416", {"NC_0014", "NC_001416.1"}), HasSubstr("did you mean 'NC_001416.1'?"));
    EXPECT_THAT(meant("NC_001416.3", {"NC_001417.3", "NC_001416.1"}), HasSubstr("did you mean 'NC_001416.1'?"));
    EXPECT_THAT(meant("1", {"x.fa:chr2", "x.fa:chr1"}), HasSubstr("did you mean 'chr1'?"));
    EXPECT_THAT(meant("1", {}, {"chr2", "chr1"}), HasSubstr("did you mean 'chr1'?"));
    EXPECT_THAT(meant("chr", {"a", "chs"}), HasSubstr("the nearest name is 'chs'"));
    EXPECT_THAT(meant("a", {}), testing::EndsWith("no sequence 'a'"));
    EXPECT_THAT(error_of([&] {
                    found("a\t0\t1\n", {"x.fa:a", "y.fa:a"}, {3, 3});
                }),
                HasSubstr("line 1: 'a' is the name of several"));
    EXPECT_THAT(error_of([&] { found("a\t0\t1\n", {"a", "a"}, {3, 3}); }), HasSubstr("several"));
    EXPECT_THAT(error_of([&] { found("a\t0\t3\na\t2\t4\n", {"a"}, {3}); }),
                AllOf(HasSubstr("line 2"), HasSubstr("past the end"), HasSubstr("has 3")));
}

}  // namespace
}  // namespace adder
