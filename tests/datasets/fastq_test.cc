#include "datasets/fastq.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/datasets/compress.h"
#include "tests/datasets/read_lines.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

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

}  // namespace
}  // namespace adder
