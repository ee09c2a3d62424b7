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
    TokenRecord r = {name, {}, kNoToken, {}, {}};
    for (int64_t i = 0; i < n; ++i) r.symbols.push_back(static_cast<uint8_t>(i % 5));
    return r;
}

std::string text(const std::vector<Segment>& segments) {
    std::string s;
    for (const Segment& x : segments) s += fmt::format("{}:{}-{} ", x.record, x.begin, x.end);
    return s;
}

TEST(Records, first_symbols_cuts_the_last_segment) {
    const std::vector<TokenRecord> records{record("a", 10), record("b", 10), record("c", 10)};
    const std::vector<Segment> all = whole_records(records);
    EXPECT_EQ(text(first_symbols(all, 14)), "0:0-10 1:0-4 ");
    EXPECT_EQ(text(first_symbols(all, 20)), "0:0-10 1:0-10 ");
    EXPECT_EQ(text(first_symbols(all, 99)), text(all));
}

// Every way to cut a member into pieces, and the member itself.
TEST(Records, tiles_of_a_member_join_to_the_whole) {
    const auto tokenizer = dna::make_tokenizer({});
    const TokenRecord r = record("a", 24);
    for (const uint16_t class_token : {kNoToken, uint16_t{500}}) {
        const Member member{r.symbols, class_token};
        const int64_t n = n_positions(*tokenizer, member), shift = class_token != kNoToken;
        ASSERT_EQ(n, 23 + shift);
        Batch whole(1, n);
        write_piece(*tokenizer, member, {0, n, true, false}, row_of(whole, 0));
        const BatchRow want = row_of(whole, 0);
        const auto token = [&](int64_t t) { return dna::kA + r.symbols[static_cast<size_t>(t)]; };
        for (int64_t t = 0; t < n; ++t) {
            EXPECT_EQ(want.ids[t], t == 0 && shift ? class_token : token(t - shift));
            EXPECT_EQ(want.targets[t], token(t + 1 - shift));
            EXPECT_EQ(want.weights[t], want.targets[t] != dna::kN ? 1 : 0);
            EXPECT_EQ(want.start[t], t == 0);
        }
        for (int64_t T = 1; T <= n; ++T) {
            Batch tiles(1, n);
            for (int64_t t0 = 0; t0 < n; t0 += T)
                write_piece(*tokenizer, member, {t0, std::min(T, n - t0), t0 == 0, false}, row_of(tiles, 0) + t0);
            const BatchRow got = row_of(tiles, 0);
            for (int64_t t = 0; t < n; ++t)
                EXPECT_TRUE(got.ids[t] == want.ids[t] && got.targets[t] == want.targets[t] &&
                            got.weights[t] == want.weights[t] && got.start[t] == want.start[t])
                    << T << " " << t;
        }
    }
}

// Ids and targets as one string of letters, with the class token as '!'.
std::string letters_of(BatchRow row, int64_t count) {
    std::string s;
    for (int64_t t = 0; t <= count; ++t) {
        const uint16_t id = t < count ? row.ids[t] : row.targets[count - 1];
        if (t > 0 && t < count) {
            EXPECT_EQ(id, row.targets[t - 1]);
        }
        s += id >= 500 ? '!' : "ACGTN"[id - dna::kA];
    }
    return s;
}

TEST(Records, a_turned_piece_is_the_reverse_complement_of_what_it_covers) {
    const auto tokenizer = dna::make_tokenizer({});
    std::vector<uint8_t> symbols;
    dna::BaseCounts counts;
    dna::encode("TTAAACGNCTT", symbols, counts);
    Batch batch(1, 5);
    const BatchRow row = row_of(batch, 0);
    write_piece(*tokenizer, {symbols, kNoToken}, {2, 5, true, false}, row);
    EXPECT_EQ(letters_of(row, 5), "AAACGN");
    write_piece(*tokenizer, {symbols, kNoToken}, {2, 5, true, true}, row);
    EXPECT_EQ(letters_of(row, 5), "NCGTTT");
    EXPECT_EQ(std::vector<float>(row.weights, row.weights + 5), std::vector<float>(5, 1));
    write_piece(*tokenizer, {symbols, 500}, {2, 5, true, false}, row);
    EXPECT_EQ(letters_of(row, 5), "!AAACG");
    write_piece(*tokenizer, {symbols, 500}, {2, 5, true, true}, row);
    EXPECT_EQ(letters_of(row, 5), "!CGTTT");
    for (int64_t t = 0; t < 5; ++t) EXPECT_EQ(row.start[t], t == 0);
    write_piece(*tokenizer, {symbols, 500}, {3, 2, true, false}, row);  // a class token in the middle of a record too
    EXPECT_EQ(letters_of(row, 2), "!AA");
    write_piece(*tokenizer, {symbols, 500}, {0, 1, true, false}, row);
    EXPECT_EQ(letters_of(row, 1), "!T");
}

TEST(Records, a_single_token_has_a_position_only_behind_a_class_token) {
    const auto tokenizer = dna::make_tokenizer({});
    const std::vector<uint8_t> one{dna::kBaseC}, none;
    EXPECT_EQ(n_positions(*tokenizer, {one, kNoToken}), 0);
    EXPECT_EQ(n_positions(*tokenizer, {one, 500}), 1);
    EXPECT_EQ(n_positions(*tokenizer, {none, kNoToken}), 0);
    EXPECT_EQ(n_positions(*tokenizer, {none, 500}), 0);
}

// Two bytes of a sample of 16 bits: which of them a token is depends on its place in the record, not in the row.
TEST(SymbolTokenizer, tokens_at_odd_places_have_ids_of_their_own) {
    SymbolTable table;
    for (size_t i = 0; i < 256; ++i) table.id[i] = static_cast<uint16_t>(i);
    table.odd_offset = 256;
    const SymbolTokenizer tokenizer({.vocabulary = 512}, table);
    const std::vector<uint8_t> symbols{1, 2, 3, 4, 5};
    for (int64_t first = 0; first < 5; ++first) {
        for (int64_t count = 0; first + count <= 5; ++count) {
            std::vector<uint16_t> ids(static_cast<size_t>(count));
            std::vector<float> weights(ids.size());
            tokenizer.write(symbols, first, count, false, ids.data(), weights.data());
            for (int64_t i = 0; i < count; ++i)
                EXPECT_EQ(ids[static_cast<size_t>(i)], first + i + 1 + (first + i) % 2 * 256);
        }
    }
}

TEST(Records, the_digest_tells_names_symbols_classes_and_borders_apart) {
    const auto named = [](const char* name, std::vector<uint8_t> symbols, uint16_t class_token = kNoToken) {
        return TokenRecord{name, std::move(symbols), class_token, {}, {}};
    };
    auto digest = [](std::vector<TokenRecord> records) { return digest_of(records); };
    // printf '\1\0\0\0\0\0\0\0a\2\0\0\0\0\0\0\0\7\10' | sha256sum
    EXPECT_EQ(digest({named("a", {7, 8})}), "e8158e4bdacb586e769bdc1a35178897f97b8c93a8c406d59b111c51b676d93f");
    const std::string one = digest({named("a", {7, 8}), named("b", {9})});
    EXPECT_EQ(one, digest({named("a", {7, 8}), named("b", {9})}));
    EXPECT_NE(one, digest({named("a", {7}), named("b", {8, 9})}));
    EXPECT_NE(one, digest({named("ab", {7, 8}), named("", {9})}));
    EXPECT_NE(one, digest({named("b", {9}), named("a", {7, 8})}));
    EXPECT_NE(one, digest({named("a", {7, 8})}));
    EXPECT_NE(one, digest({named("a", {7, 8}, 500), named("b", {9})}));
}

}  // namespace
}  // namespace adder
