#include "pipelines/split.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pipelines/record_names.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::string> kFiles{"genomes/a.fa"};

TokenRecord record(const std::string& name, int64_t n, int32_t file = 0) {
    TokenRecord r{.name = name, .symbols = std::vector<uint8_t>(static_cast<size_t>(n))};
    r.file = file;
    return r;
}

std::string text(const std::vector<Segment>& segments) {
    std::string s;
    for (const Segment& x : segments) s += fmt::format("{}:{}-{} ", x.record, x.begin, x.end);
    return s;
}

TEST(Split, nothing_is_held_out_by_default) {
    const std::vector<TokenRecord> records{record("a", 10), record("b", 1)};
    const Split split = split_records(records, kFiles, {});
    EXPECT_EQ(text(split.train), "0:0-10 1:0-1 ");
    EXPECT_TRUE(split.valid.empty());
}

TEST(Split, the_last_part_of_every_contig_is_held_out_with_a_gap_before_it) {
    const std::vector<TokenRecord> records{record("a", 100), record("b", 10), record("c", 1), record("d", 4)};
    const Split split = split_records(records, kFiles, {.valid_fraction = 0.2, .gap = 5});
    EXPECT_EQ(text(split.train), "0:0-75 1:0-3 2:0-1 ");
    EXPECT_EQ(text(split.valid), "0:80-100 1:8-10 3:3-4 ");
    EXPECT_EQ(split.n_unused, 5 + 5 + 3);
    EXPECT_EQ(n_symbols(split.train) + n_symbols(split.valid) + split.n_unused, 115);
}

TEST(Split, contigs_are_held_out_whole_by_name) {
    const std::vector<TokenRecord> records{record("chr1", 5), record("chr2", 6), record("chr3", 7)};
    const Split split =
        split_records(records, kFiles, {.valid_records = {"chr3", "chr1"}});
    EXPECT_EQ(text(split.train), "1:0-6 ");
    EXPECT_EQ(text(split.valid), "0:0-5 2:0-7 ");
}

TEST(Split, options_out_of_range_and_unknown_names_are_errors) {
    const std::vector<TokenRecord> records{record("chr1", 5), record("chr2", 6)};
    auto error = [&](const SplitOptions& o) { return error_of([&] { split_records(records, kFiles, o); }); };
    EXPECT_THAT(error({.valid_fraction = 1, .gap = 0}), HasSubstr("less than 1"));
    EXPECT_THAT(error({.valid_fraction = -0.1, .gap = 0}), HasSubstr("less than 1"));
    EXPECT_THAT(error({.valid_fraction = std::stod("nan"), .gap = 0}),
                HasSubstr("less than 1"));
    EXPECT_THAT(error({.valid_fraction = 0.1, .gap = -1}), HasSubstr("gap"));
    EXPECT_THAT(error({.valid_fraction = 0.1, .valid_records = {"chr1"}}), HasSubstr("not several"));
    EXPECT_THAT(error({.valid_records = {"chr1", "chr9"}}),
                HasSubstr("no record chr9; the records are chr1, chr2"));
}

TEST(Split, a_part_for_testing_stands_behind_the_held_out_one_with_a_gap_before_each) {
    const std::vector<TokenRecord> records{record("a", 100), record("b", 3)};
    const Split split = split_records(records, kFiles, {.valid_fraction = 0.2, .test_fraction = 0.1, .gap = 5});
    EXPECT_EQ(text(split.test), "0:90-100 ");
    EXPECT_EQ(text(split.valid), "0:65-85 1:2-3 ");
    EXPECT_EQ(text(split.train), "0:0-60 ");
    EXPECT_EQ(split.n_unused, 12);
}

std::vector<TokenRecord> paired_reads(int n, const char* prefix = "") {
    std::vector<TokenRecord> reads;
    for (int i = 0; i < n; ++i)
        for (int mate = 1; mate <= 2; ++mate) {
            reads.push_back(record(fmt::format("{}read{}/{}", prefix, i, mate), 100));
            reads.back().is_read = true;
        }
    return reads;
}

TEST(Split, reads_stay_whole_and_mates_together_whatever_else_is_read) {
    constexpr int kPairs = 5000;
    const SplitOptions options{.valid_fraction = 0.2, .test_fraction = 0.1, .gap = 5};
    std::vector<TokenRecord> reads = paired_reads(kPairs);
    const Split split = split_records(reads, kFiles, options);
    EXPECT_EQ(split.n_unused, 0);
    EXPECT_EQ(split.train.size() + split.valid.size() + split.test.size(), reads.size());
    // 5 standard deviations of a draw of pairs.
    EXPECT_NEAR(static_cast<double>(split.valid.size()) / 2, 0.2 * kPairs, 5 * 28.3);
    EXPECT_NEAR(static_cast<double>(split.test.size()) / 2, 0.1 * kPairs, 5 * 21.2);
    for (size_t i = 0; i < split.valid.size(); ++i) {
        const Segment& s = split.valid[i];
        EXPECT_TRUE(s.begin == 0 && s.end == 100);
        EXPECT_EQ(s.record % 2 ? s.record - 1 : s.record + 1, split.valid[i ^ 1].record);
    }
    // Beside other reads, and where the name is qualified by a file, the same ones.
    std::vector<TokenRecord> more = paired_reads(10);
    for (TokenRecord& r : more) r.name = "b.fq:" + r.name, r.file = 1;
    more.insert(more.end(), std::make_move_iterator(reads.begin()), std::make_move_iterator(reads.end()));
    const std::vector<std::string> files{"a.fa", "b.fq"};
    const Split again = split_records(more, files, options);
    const auto after = [](const std::vector<Segment>& part) {
        std::vector<int64_t> records;
        for (const Segment& s : part) records.push_back(s.record - 20);
        return records;
    };
    std::vector<int64_t> expected;
    for (const Segment& s : split.valid)
        if (s.record < 20) expected.push_back(s.record - 20);
    for (const Segment& s : split.valid) expected.push_back(s.record);
    EXPECT_EQ(after(again.valid), expected);
}

TEST(Split, reads_of_one_group_come_into_one_part) {
    std::vector<TokenRecord> reads = paired_reads(200);
    for (size_t i = 0; i < reads.size(); ++i) reads[i].group = fmt::format("molecule{}", i % 4);
    const Split split = split_records(reads, kFiles, {.valid_fraction = 0.5});
    EXPECT_EQ(split.valid.size() % 100, 0u);
    EXPECT_EQ(split.train.size() % 100, 0u);
}

TEST(Split, intervals_say_what_is_for_what_and_the_rest_is_not_used) {
    const Scratch w;
    const std::vector<TokenRecord> records{record("chr1", 100), record("chr2", 50)};
    SplitOptions o;
    o.bed = w.put("s.bed", "chr2\t0\t20\ttest\nchr1\t50\t80\tvalid\nchr1\t0\t30\ttrain\nchr1\t30\t40\ttrain\n"
                           "chr1\t80\t100\ttrain\n");
    const Split split = split_records(records, kFiles, o);
    EXPECT_EQ(text(split.train), "0:0-40 0:80-100 ");
    EXPECT_EQ(text(split.valid), "0:50-80 ");
    EXPECT_EQ(text(split.test), "1:0-20 ");
    EXPECT_EQ(split.n_unused, 10 + 30);
    const std::string digest = digest_of(split, records);
    o.bed = w.put("t.bed", "chrom\tstart\tend\tx\tsplit\nchr1\t0\t40\t.\ttrain\nchr1\t50\t80\t.\tvalid\n"
                           "chr1\t80\t100\t.\ttrain\na.fa:chr2\t0\t20\t.\ttest\n");
    EXPECT_EQ(digest_of(split_records(records, kFiles, o), records), digest);
    o.bed = w.put("u.bed", "chr1\t0\t40\ttrain\nchr1\t50\t80\tvalid\nchr1\t80\t100\ttrain\nchr2\t0\t20\tvalid\n");
    EXPECT_NE(digest_of(split_records(records, kFiles, o), records), digest);
}

TEST(Split, overlapping_intervals_of_one_part_are_one_segment) {
    const Scratch w;
    const std::vector<TokenRecord> records{record("chr1", 100), record("chr2", 50)};
    const std::string bed =
        w.put("windows.bed",
              "chr1\t30\t50\ttrain\nchr1\t0\t40\ttrain\nchr1\t10\t20\ttrain\nchr1\t50\t60\ttest\n"
              "chr1\t55\t70\ttest\nchr1\t70\t80\ttrain\nchr1\t0\t40\ttrain\nchr2\t0\t10\ttrain\n");
    const Split split = split_records(records, kFiles, {.bed = bed});
    EXPECT_EQ(text(split.train), "0:0-50 0:70-80 1:0-10 ");
    EXPECT_EQ(text(split.test), "0:50-70 ");
    EXPECT_EQ(split.n_unused, 20 + 40);
}

TEST(Split, intervals_that_cannot_be_meant_are_errors_naming_the_line) {
    const Scratch w;
    const std::vector<TokenRecord> records{record("chr1", 100), record("chr2", 50)};
    const std::pair<const char*, const char*> wrong[] = {
        {"chr1\t0\t30\ttrain\nchr1\t20\t40\tvalid\n", "line 2: overlaps line 1"},
        {"chr1\t20\t40\ttrain\n\nchr1\t0\t21\ttest\n", "line 3: overlaps line 1, which is for another part"},
        {"chr1\t0\t50\ttrain\nchr1\t10\t20\ttrain\nchr1\t30\t60\tvalid\n", "line 3: overlaps line 1"},
        {"chr1\t0\t50\tvalid\nchr1\t10\t20\tvalid\nchr1\t60\t70\ttrain\nchr1\t49\t50\ttest\n",
         "line 4: overlaps line 1"},
        {"chr1\t0\t101\ttrain\n", "line 1: chr1:0-101 goes past the end"},
        {"chr3\t0\t10\ttrain\n", "line 1: the input has no sequence 'chr3'"},
        {"chr1\t0\t10\ttrain\nchr1\t10\t20\tval\n", "line 2: expected train, valid or test"},
        {"chr1\t0\t10\n", "line 1: expected train, valid or test"},
    };
    for (const auto& [bed, says] : wrong) {
        SplitOptions o;
        o.bed = w.put("s.bed", bed);
        EXPECT_THAT(error_of([&] { split_records(records, kFiles, o); }), AllOf(HasSubstr("s.bed"), HasSubstr(says)));
    }
}

TEST(RecordNames, names_that_occur_in_several_files_are_qualified_and_found_either_way) {
    const std::vector<std::string> files{"x/a.fa", "x/b.fa", "y/b.fa"};
    std::vector<TokenRecord> records{record("chr1", 1, 0), record("chr2", 1, 0), record("chr1", 1, 1), record("chr3", 1, 2)};
    settle_names(records, files);
    std::vector<std::string> names;
    for (const TokenRecord& r : records) names.push_back(r.name);
    EXPECT_THAT(names, ElementsAre("a.fa:chr1", "chr2", "x/b.fa:chr1", "chr3"));
    EXPECT_THAT(qualified_names(records, files), ElementsAre("a.fa:chr1", "a.fa:chr2", "x/b.fa:chr1", "y/b.fa:chr3"));
    const RecordNames index(records, files);
    EXPECT_EQ(index.find("chr2", "x"), 1);
    EXPECT_EQ(index.find("a.fa:chr2", "x"), 1);
    EXPECT_EQ(index.find("a.fa:chr1", "x"), 0);
    EXPECT_EQ(index.find("x/b.fa:chr1", "x"), 2);
    EXPECT_EQ(index.find("y/b.fa:chr3", "x"), 3);
    EXPECT_THAT(error_of([&] { index.find("chr1", "held-out contigs"); }),
                AllOf(HasSubstr("held-out contigs: chr1 is the name of several"), HasSubstr("file:name")));
    EXPECT_THAT(error_of([&] { index.find("chr9", "x"); }), HasSubstr("no record chr9; the records are a.fa:chr1, chr2"));
}

TEST(RecordNames, records_are_asked_for_by_name_or_behind_their_file) {
    const WantedNames all({}), some({"x", "a.fa:y", "chr1:10-20"});
    EXPECT_TRUE(all.all() && all.has("anything"));
    EXPECT_FALSE(some.all());
    for (const char* name : {"x", "y", "a.fa:y", "chr1:10-20", "10-20"}) EXPECT_TRUE(some.has(name)) << name;
    for (const char* name : {"", "a.fa", "chr1", "fa:y", "z"}) EXPECT_FALSE(some.has(name)) << name;
}

TEST(RecordNames, a_name_stays_on_one_line_and_in_one_column) {
    const std::vector<std::string> files{"x/a\tb.wav", "y/c.wav"};
    std::vector<TokenRecord> records{record("a\tb", 1, 0), record("c\nd\r\x1b", 1, 1), record("a\tb", 1, 1)};
    settle_names(records, files);
    EXPECT_EQ(records[0].name, "a\\tb.wav:a\\tb");
    EXPECT_EQ(records[1].name, "c\\nd\\r\\x1b");
    EXPECT_EQ(records[2].name, "c.wav:a\\tb");
}

TEST(RecordNames, files_are_called_the_same_from_wherever_they_are_named) {
    const std::string here = std::filesystem::current_path().string();
    const std::vector<std::string> as_typed{"x/a.fa", "y/a.fa", "b.fa"}, in_full{here + "/x/a.fa", here + "/z/../y/a.fa", here + "/b.fa"};
    EXPECT_THAT(file_labels(as_typed), ElementsAre("x/a.fa", "y/a.fa", "b.fa"));
    EXPECT_EQ(file_labels(in_full), file_labels(as_typed));
    EXPECT_THAT(file_labels(std::vector<std::string>{"p/x/a.fa", "q/x/a.fa"}), ElementsAre("p/x/a.fa", "q/x/a.fa"));
}

}  // namespace
}  // namespace adder
