#include "datasets/fasta_index.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "core/rng.h"
#include "datasets/fasta.h"
#include "tests/datasets/compress.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string letters(int64_t n, uint64_t seed) {
    const Philox rng(seed, Stream::test);
    std::string s(static_cast<size_t>(n), 'A');
    for (size_t i = 0; i < s.size(); ++i) s[i] = "ACGTacgtNnR"[rng.below(11, i)];
    return s;
}

std::string region(const FastaIndex& index, size_t sequence, int64_t begin, int64_t end) {
    std::string all;
    const bool fits =
        index.read(index.sequences()[sequence], begin, end, [&](std::string_view run) { all += run; });
    return fits ? all : "(does not fit)";
}

const std::string kLong = letters(2'500'000, 1), kShort = letters(7, 2);

std::string two_records(const char* line_end) {
    std::string text;
    append_fasta(text, "chr1 first", kLong, 61);
    append_fasta(text, "chr2", kShort, 61);
    for (size_t at = 0; std::string(line_end) == "\r\n" && (at = text.find('\n', at)) != std::string::npos; at += 2)
        text.insert(at, 1, '\r');
    return text;
}

TEST(FastaIndex, is_built_beside_the_file_and_gives_any_region) {
    for (const std::string& bytes : {two_records("\n"), two_records("\r\n"), bgzip(two_records("\n"), 5000)}) {
        const Scratch w;
        const std::string path = w.put("a.fa", bytes);
        const auto index = FastaIndex::of(path);
        ASSERT_TRUE(index);
        EXPECT_TRUE(std::filesystem::exists(path + ".fai"));
        ASSERT_EQ(index->sequences().size(), 2u);
        EXPECT_EQ(index->sequences()[0].name, "chr1");
        EXPECT_EQ(region(*index, 0, 0, 2'500'000), kLong);
        for (const auto& [begin, end] : {std::pair{0, 1}, {60, 62}, {1'048'000, 2'200'000}, {2'499'999, 2'500'000}, {5, 5}})
            EXPECT_EQ(region(*index, 0, begin, end), kLong.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
        EXPECT_EQ(region(*index, 1, 0, 7), kShort);
        EXPECT_THAT(error_of([&] { region(*index, 1, 3, 8); }), AllOf(HasSubstr("a.fa"), HasSubstr("chr2:3-8")));
        for (const auto& entry : std::filesystem::directory_iterator(w.folder()))
            EXPECT_EQ(entry.path().filename().string().rfind("a.fa", 0), 0u) << entry.path();
    }
}

TEST(FastaIndex, there_is_none_where_positions_would_not_be_those_of_the_reader) {
    for (const std::string& bytes :
         {gzip(two_records("\n")), std::string(">a\nACGT\nAC-T\nAC\n"), std::string(">a\nACGT\nAC*T\nAC\n"),
          std::string(">a\nA GT\nA CT\nAC\n"), std::string(">a\nACGT\nA\nACGT\n"), std::string(">a\nACGT\n\nACGT\n"),
          std::string(">a\nACGT\n>a\nCCGT\n")}) {
        const Scratch w;
        EXPECT_FALSE(FastaIndex::of(w.put("a.fa", bytes))) << bytes.substr(0, 30);
        EXPECT_EQ(w.n_files(), 1) << bytes.substr(0, 30);
    }
    EXPECT_FALSE(FastaIndex::of("-"));
}

TEST(FastaIndex, one_that_is_older_than_the_file_is_built_again) {
    const Scratch w;
    const std::string path = w.put("a.fa", ">a\nACGT\nAC\n");
    ASSERT_TRUE(FastaIndex::of(path));
    w.put("a.fa", ">b\nACGTT\nGG\n");
    std::filesystem::last_write_time(path + ".fai", std::filesystem::last_write_time(path) - std::chrono::hours(1));
    const auto index = FastaIndex::of(path);
    ASSERT_TRUE(index);
    EXPECT_EQ(index->sequences()[0].name, "b");
    EXPECT_EQ(region(*index, 0, 4, 7), "TGG");
}

// A .fai as `samtools faidx` writes it, whatever FastaIndex would say to the file.
void index_as_samtools_does(const std::string& path) {
    ASSERT_TRUE(FaiFile::build(path, path + ".fai", path + ".gzi"));
}

TEST(FastaIndex, one_that_leaves_out_a_record_is_not_used) {
    std::string many = two_records("\n");
    for (int i = 0; i < 20'000; ++i) append_fasta(many, fmt::format("s{} no name before", i), kShort);
    for (const std::string& own :
         {std::string(">a\nACGT\nAC\n"), std::string(">b\nACGT\n\n>a\nACGT\nAC\n\n"), many}) {
        for (const std::string& bytes :
             {own, own + own, ">x y\nA\n" + own + ">x\nACGT", own + ">chr1 again\nAC\n>chr1\nA"}) {
            for (const bool is_bgzip : {false, true}) {
                const Scratch w;
                const std::string path = w.put("a.fa", is_bgzip ? bgzip(bytes, 5000) : bytes);
                index_as_samtools_does(path);
                EXPECT_EQ(FastaIndex::of(path) == nullptr, bytes != own) << bytes.substr(0, 20);
            }
        }
    }
}

TEST(FastaIndex, one_that_is_of_another_file_is_not_used) {
    for (const char* rows :
         {"a\t8\t3\t8\t9\n", "a\t4\t3\t4\t5\n", "b\t4\t3\t4\t5\na\t4\t11\t4\t5\n",
          "a\t3\t3\t4\t5\nb\t4\t11\t4\t5\n", "a\t4\t3\t4\t5\nb\t9\t11\t4\t5\nc\t4\t30\t4\t5\n"}) {
        const Scratch w;
        const std::string path = w.put("a.fa", ">a\nACGT\n>b\nACGT\n");
        w.put("a.fa.fai", rows);
        EXPECT_FALSE(FastaIndex::of(path)) << rows;
    }
    const Scratch w;
    const std::string path = w.put("a.fa", ">a\nACGT\n>b\nACGT\n");
    w.put("a.fa.fai", "a\t4\t3\t4\t5\nb\t4\t11\t4\t5\n");
    ASSERT_TRUE(FastaIndex::of(path));
    EXPECT_EQ(region(*FastaIndex::of(path), 1, 1, 3), "CG");
}

TEST(FastaIndex, positions_that_count_gaps_are_not_read) {
    const Scratch w;
    const std::string path = w.put("a.fa", ">a\nACGT\nAC-T\nAC\n>b\nAC*T\n>c\nACGT\n");
    index_as_samtools_does(path);
    const auto index = FastaIndex::of(path);
    ASSERT_TRUE(index);
    EXPECT_EQ(region(*index, 0, 0, 10), "(does not fit)");
    EXPECT_EQ(region(*index, 1, 0, 4), "(does not fit)");
    EXPECT_EQ(region(*index, 2, 0, 4), "ACGT");
}

}  // namespace
}  // namespace adder
