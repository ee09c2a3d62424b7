#include "pipelines/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "core/rng.h"

namespace adder {
namespace {

constexpr PackedAlphabet kLetters{{'a', 'c', 'g', 't'}, 0x80};

// Packs in pieces of 1, 2, 3, ... symbols, or at once.
SymbolPacker pack(std::span<const uint8_t> symbols, bool in_pieces) {
    SymbolPacker packer(kLetters);
    for (size_t at = 0, piece = in_pieces ? 1 : symbols.size(); at < symbols.size(); at += piece, piece += in_pieces)
        packer.add(symbols.subspan(at, std::min(piece, symbols.size() - at)));
    packer.finish();
    return packer;
}

std::vector<uint8_t> unpack(const SymbolPacker& p, size_t n, int64_t piece) {
    std::vector<uint8_t> symbols(n);
    for (int64_t at = 0; at < static_cast<int64_t>(n); at += piece)
        unpack_symbols(kLetters, p.bytes, at,
                       std::span(symbols).subspan(static_cast<size_t>(at),
                                                  std::min<size_t>(static_cast<size_t>(piece), n - static_cast<size_t>(at))));
    const auto over = [&](const SymbolRuns& runs, auto&& apply) {
        int64_t at = 0;
        for (size_t i = 0; i < runs.gap.size(); ++i) {
            at += runs.gap[i];
            for (int64_t end = at + runs.length[i]; at < end; ++at) apply(symbols[static_cast<size_t>(at)], i);
        }
    };
    over(p.other, [&](uint8_t& symbol, size_t i) { symbol = p.other_symbol[i]; });
    over(p.flagged, [&](uint8_t& symbol, size_t) { symbol |= kLetters.flag; });
    return symbols;
}

// Letters in runs: some of a fifth and sixth symbol, some flagged, of lengths from one to several strides.
std::vector<uint8_t> sequence(int64_t n, uint64_t seed) {
    const Philox random(seed, Stream::windows);
    std::vector<uint8_t> symbols;
    for (uint64_t run = 0; static_cast<int64_t>(symbols.size()) < n; ++run) {
        const uint64_t kind = random.u64(run, 0) % 8, length = 1 + random.u64(run, 1) % (random.u64(run, 2) % 4 ? 9 : 300);
        for (uint64_t i = 0; i < length; ++i) {
            const auto letter = static_cast<uint8_t>("acgt"[random.u64(run, 3 + static_cast<uint32_t>(i)) % 4]);
            const uint8_t symbol = kind == 0 ? 'n' : kind == 1 ? uint8_t{0} : letter;
            symbols.push_back(static_cast<uint8_t>(symbol | (kind % 3 == 0 ? 0x80 : 0)));
        }
    }
    symbols.resize(static_cast<size_t>(n));
    return symbols;
}

TEST(Packing, what_is_packed_is_unpacked_whatever_the_pieces) {
    for (const int64_t n : {0, 1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 1000, 20011}) {
        for (uint64_t seed = 0; seed < 4; ++seed) {
            const auto symbols = sequence(n, seed);
            const SymbolPacker at_once = pack(symbols, false), in_pieces = pack(symbols, true);
            EXPECT_EQ(at_once.bytes, in_pieces.bytes);
            EXPECT_EQ(at_once.bytes.size(), static_cast<size_t>((n + 3) / 4));
            EXPECT_EQ(at_once.flagged.gap, in_pieces.flagged.gap);
            EXPECT_EQ(at_once.other.length, in_pieces.other.length);
            for (const int64_t piece : {1, 3, 4, 7, 32, 1 << 20}) {
                ASSERT_EQ(unpack(at_once, symbols.size(), piece), symbols) << n << " symbols, pieces of " << piece;
                ASSERT_EQ(unpack(in_pieces, symbols.size(), piece), symbols);
            }
        }
    }
}

TEST(Packing, runs_are_as_long_as_they_can_be) {
    constexpr std::string_view text = "acgtnnnnxxacgt";
    std::vector<uint8_t> symbols(text.begin(), text.end());
    for (size_t i = 2; i < 7; ++i) symbols[i] |= 0x80;
    const SymbolPacker p = pack(symbols, true);
    EXPECT_EQ(p.flagged.gap, std::vector<int64_t>{2});
    EXPECT_EQ(p.flagged.length, std::vector<int64_t>{5});
    EXPECT_EQ(p.other.gap, (std::vector<int64_t>{4, 0}));
    EXPECT_EQ(p.other.length, (std::vector<int64_t>{4, 2}));
    EXPECT_EQ(p.other_symbol, (std::vector<uint8_t>{'n', 'x'}));
    EXPECT_EQ(p.bytes.front(), 0 | 1 << 2 | 2 << 4 | 3 << 6);
}

TEST(Packing, an_alphabet_without_a_flag_keeps_every_byte) {
    const PackedAlphabet plain{{0, 1, 2, 3}, 0};
    std::vector<uint8_t> symbols(256);
    for (size_t i = 0; i < symbols.size(); ++i) symbols[i] = static_cast<uint8_t>(i);
    SymbolPacker p(plain);
    p.add(symbols);
    p.finish();
    EXPECT_TRUE(p.flagged.gap.empty());
    EXPECT_EQ(p.other_symbol.size(), 252u);
}

}  // namespace
}  // namespace adder
