#include "pipelines/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pipelines/dna/tokenizer.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::HasSubstr;

TokenRecord record(const std::string& name, int64_t n) {
    TokenRecord r{name, {}};
    for (int64_t i = 0; i < n; ++i) r.tokens.push_back(static_cast<uint8_t>(dna::kA + i % 5));
    return r;
}

std::string text(const std::vector<Segment>& segments) {
    std::string s;
    for (const Segment& x : segments) s += fmt::format("{}:{}-{} ", x.record, x.begin, x.end);
    return s;
}

TEST(Split, nothing_is_held_out_by_default) {
    const std::vector<TokenRecord> records{record("a", 10), record("b", 1)};
    const Split split = split_records(records, {});
    EXPECT_EQ(text(split.train), "0:0-10 1:0-1 ");
    EXPECT_TRUE(split.valid.empty());
}

TEST(Split, the_last_part_of_every_contig_is_held_out_with_a_gap_before_it) {
    const std::vector<TokenRecord> records{record("a", 100), record("b", 10), record("c", 1), record("d", 4)};
    const Split split = split_records(records, {.valid_fraction = 0.2, .gap = 5, .valid_records = {}});
    EXPECT_EQ(text(split.train), "0:0-75 1:0-3 2:0-1 ");
    EXPECT_EQ(text(split.valid), "0:80-100 1:8-10 3:3-4 ");
    EXPECT_EQ(split.n_gap, 5 + 5 + 3);
    EXPECT_EQ(n_tokens(split.train) + n_tokens(split.valid) + split.n_gap, 115);
}

TEST(Split, contigs_are_held_out_whole_by_name) {
    const std::vector<TokenRecord> records{record("chr1", 5), record("chr2", 6), record("chr3", 7)};
    const Split split =
        split_records(records, {.valid_fraction = 0, .gap = 0, .valid_records = {"chr3", "chr1"}});
    EXPECT_EQ(text(split.train), "1:0-6 ");
    EXPECT_EQ(text(split.valid), "0:0-5 2:0-7 ");
}

TEST(Split, options_out_of_range_and_unknown_names_are_errors) {
    const std::vector<TokenRecord> records{record("chr1", 5), record("chr2", 6)};
    auto error = [&](const SplitOptions& o) { return error_of([&] { split_records(records, o); }); };
    EXPECT_THAT(error({.valid_fraction = 1, .gap = 0, .valid_records = {}}), HasSubstr("less than 1"));
    EXPECT_THAT(error({.valid_fraction = -0.1, .gap = 0, .valid_records = {}}), HasSubstr("less than 1"));
    EXPECT_THAT(error({.valid_fraction = std::stod("nan"), .gap = 0, .valid_records = {}}),
                HasSubstr("less than 1"));
    EXPECT_THAT(error({.valid_fraction = 0.1, .gap = -1, .valid_records = {}}), HasSubstr("gap"));
    EXPECT_THAT(error({.valid_fraction = 0.1, .gap = 0, .valid_records = {"chr1"}}), HasSubstr("not both"));
    EXPECT_THAT(error({.valid_fraction = 0, .gap = 0, .valid_records = {"chr1", "chr9"}}),
                HasSubstr("no record chr9; the records are chr1, chr2"));
}

TEST(Records, first_tokens_cuts_the_last_segment) {
    const std::vector<TokenRecord> records{record("a", 10), record("b", 10), record("c", 10)};
    const std::vector<Segment> all = whole_records(records);
    EXPECT_EQ(text(first_tokens(all, 14)), "0:0-10 1:0-4 ");
    EXPECT_EQ(text(first_tokens(all, 20)), "0:0-10 1:0-10 ");
    EXPECT_EQ(text(first_tokens(all, 99)), text(all));
}

TEST(Records, tiles_of_a_record_join_to_the_whole) {
    const TokenRecord r = record("a", 23);
    Batch whole(1, 23);
    write_positions(dna::token_rules(), r.tokens, 0, 23, row_of(whole, 0));
    const BatchRow want = row_of(whole, 0);
    for (int64_t t = 0; t < 23; ++t) {
        EXPECT_EQ(want.ids[t], r.tokens[static_cast<size_t>(t)]);
        EXPECT_EQ(want.targets[t], t < 22 ? r.tokens[static_cast<size_t>(t) + 1] : uint8_t{dna::kPad});
        EXPECT_EQ(want.weights[t], t < 22 && want.targets[t] != dna::kN ? 1 : 0);
        EXPECT_EQ(want.start[t], t == 0);
    }
    for (int64_t T = 1; T <= 23; ++T) {
        Batch tiles(1, 23);
        for (int64_t t0 = 0; t0 < 23; t0 += T) {
            write_positions(dna::token_rules(), r.tokens, t0, std::min(T, 23 - t0), row_of(tiles, 0) + t0);
        }
        const BatchRow got = row_of(tiles, 0);
        for (int64_t t = 0; t < 23; ++t) {
            EXPECT_TRUE(got.ids[t] == want.ids[t] && got.targets[t] == want.targets[t] &&
                        got.weights[t] == want.weights[t] && got.start[t] == want.start[t])
                << T << " " << t;
        }
    }
}

TEST(Records, the_digest_tells_names_tokens_and_borders_apart) {
    auto digest = [](std::vector<TokenRecord> records) { return digest_of(records); };
    // printf '\1\0\0\0\0\0\0\0a\2\0\0\0\0\0\0\0\7\10' | sha256sum
    EXPECT_EQ(digest({{"a", {7, 8}}}), "e8158e4bdacb586e769bdc1a35178897f97b8c93a8c406d59b111c51b676d93f");
    const std::string one = digest({{"a", {7, 8}}, {"b", {9}}});
    EXPECT_EQ(one, digest({{"a", {7, 8}}, {"b", {9}}}));
    EXPECT_NE(one, digest({{"a", {7}}, {"b", {8, 9}}}));
    EXPECT_NE(one, digest({{"ab", {7, 8}}, {"", {9}}}));
    EXPECT_NE(one, digest({{"b", {9}}, {"a", {7, 8}}}));
    EXPECT_NE(one, digest({{"a", {7, 8}}}));
}

}  // namespace
}  // namespace adder
