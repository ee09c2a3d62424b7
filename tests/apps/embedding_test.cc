// Embeddings of targets: what they are, and what changes nothing in them.
#include "apps/embedding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "tests/io/scratch.h"
#include "tests/model/toy.h"

namespace adder {
namespace {

using testing::HasSubstr;

constexpr int64_t kWidth = 8;

// Symbols 0 to 4 are the tokens 7 to 11; 0 and 3, 1 and 2 are complements.
const Tokenizer& letters() {
    static const SymbolTokenizer tokenizer = [] {
        SymbolTable table;
        for (uint8_t s = 0; s < 5; ++s) {
            table.id[s] = static_cast<uint16_t>(7 + s);
            table.complement[s] = s < 4 ? static_cast<uint8_t>(3 - s) : s;
        }
        return SymbolTokenizer({.vocabulary = 12, .pad = 4, .two_strands = true, .token = "base"}, table);
    }();
    return tokenizer;
}

std::vector<TokenRecord> records_of(const std::vector<int64_t>& lengths) {
    const Philox random(11, Stream::test);
    std::vector<TokenRecord> records;
    for (size_t r = 0; r < lengths.size(); ++r) {
        TokenRecord record;
        record.name = "r" + std::to_string(r);
        for (int64_t t = 0; t < lengths[r]; ++t)
            record.symbols.push_back(static_cast<uint8_t>(random.below(5, r, static_cast<uint64_t>(t))));
        records.push_back(std::move(record));
    }
    return records;
}

std::vector<Segment> whole(const std::vector<TokenRecord>& records) {
    return whole_records(records);
}

struct Options {
    EmbedPool pool = EmbedPool::mean;
    EmbedderOutputs outputs = {};
    BothStrands strands = BothStrands::no;
    std::optional<int64_t> tile = {};
    bool packed = false;
    int threads = 2;
    std::vector<bool> on_reverse = {};
};

using Rows = std::vector<std::vector<float>>;

Rows embedded(ToyModel& toy, const std::vector<TokenRecord>& records, const std::vector<Segment>& segments,
              const Options& o) {
    const Scratch scratch;
    ThreadPool pool(o.threads);
    EmbedTargets targets{records, segments, o.on_reverse, segments.size() == records.size()};
    for (size_t i = 0; i < segments.size(); ++i)
        targets.whole_records &= segments[i].record == static_cast<int64_t>(i);
    const EmbedSettings settings{o.pool, o.outputs, o.strands, o.tile, o.packed};
    const int64_t n =
        o.pool == EmbedPool::none ? targets.offsets().back() : static_cast<int64_t>(segments.size());
    const int64_t width = o.outputs.count() * toy.model.config().d_model;
    const int64_t columns = o.strands == BothStrands::concat ? 2 * width : width;
    EmbeddingFile file(scratch.path("e.h5"), n, width, o.strands, rows_in_order(targets, settings));
    embed(toy.model, {.storage = toy.storage, .pool = &pool}, letters(), targets, settings, file);
    file.commit(std::vector<std::string>(segments.size(), "x"), {}, {{"pool", "x"}});
    const std::vector<float> flat = Hdf5Reader(scratch.path("e.h5")).read_all<float>("embedding");
    Rows rows;
    for (int64_t i = 0; i < n; ++i)
        rows.emplace_back(flat.begin() + i * columns, flat.begin() + (i + 1) * columns);
    return rows;
}

std::vector<double> flat(const Rows& rows) {
    std::vector<double> all;
    for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
    return all;
}

TokenRecord reversed(const TokenRecord& record) {
    TokenRecord other = record;
    std::reverse(other.symbols.begin(), other.symbols.end());
    for (uint8_t& s : other.symbols) s = s < 4 ? static_cast<uint8_t>(3 - s) : s;
    return other;
}

// By the model's outputs at every position of a record alone, pooled by plain loops.
Rows by_hand(ToyModel& toy, const TokenRecord& record, const std::vector<Segment>& segments,
             const Options& o) {
    const auto n = static_cast<int64_t>(record.symbols.size());
    std::vector<uint16_t> ids;
    for (uint8_t s : record.symbols) ids.push_back(static_cast<uint16_t>(7 + s));
    std::vector<std::vector<double>> at(ids.size());
    ThreadPool pool(1);
    Embedder embedder(toy.model, {.storage = toy.storage, .pool = &pool}, 1, n, o.outputs,
                      [&](int64_t, int64_t, const TensorRef& v) {
                          for (int64_t i = 0; i < n * kWidth; ++i)
                              at[static_cast<size_t>(i / kWidth)].push_back(ToyModel::get(v, i));
                      });
    TokenRows in;
    in.n = n;
    in.ids = ids.data();
    embedder.run(in, 0);
    Rows rows;
    for (const Segment& s : segments) {
        if (o.pool == EmbedPool::none) {
            for (int64_t t = s.begin; t < s.end; ++t)
                rows.emplace_back(at[static_cast<size_t>(t)].begin(), at[static_cast<size_t>(t)].end());
            continue;
        }
        std::vector<double> row = at[static_cast<size_t>(o.pool == EmbedPool::last ? s.end - 1 : s.begin)];
        for (int64_t t = s.begin + 1; t < s.end; ++t)
            for (size_t c = 0; c < row.size(); ++c) {
                const double x = at[static_cast<size_t>(t)][c];
                if (o.pool == EmbedPool::mean) row[c] += x;
                if (o.pool == EmbedPool::max) row[c] = std::max(row[c], x);
            }
        if (o.pool == EmbedPool::mean)
            for (double& x : row) x /= static_cast<double>(s.size());
        rows.emplace_back(row.begin(), row.end());
    }
    return rows;
}

constexpr EmbedPool kPools[] = {EmbedPool::mean, EmbedPool::last, EmbedPool::max, EmbedPool::none};

class EmbeddingOfEveryMixer : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Mixers, EmbeddingOfEveryMixer, testing::ValuesIn(mixer_names()));

TEST_P(EmbeddingOfEveryMixer, equals_untiled_outputs_pooled_by_hand_at_every_tile_and_pool) {
    const auto records = records_of({1, 40, 300, 5, 17, 16, 40, 257, 2});
    for (DType dtype : {DType::f64, DType::f32}) {
        ToyModel toy(GetParam(), dtype);
        for (EmbedPool pool : kPools)
            for (const EmbedderOutputs& outputs :
                 {EmbedderOutputs{}, EmbedderOutputs{{1}, true}, EmbedderOutputs{{0, 2}, false}}) {
                Options o{.pool = pool, .outputs = outputs};
                Rows expected;
                for (const TokenRecord& r : records)
                    for (auto& row : by_hand(toy, r, {{0, 0, static_cast<int64_t>(r.symbols.size())}}, o))
                        expected.push_back(row);
                for (std::optional<int64_t> tile :
                     {std::optional<int64_t>(), std::optional<int64_t>(7), std::optional<int64_t>(64)})
                    for (bool packed : {false, true}) {
                        o.tile = tile;
                        o.packed = packed;
                        EXPECT_LE(
                            relative_rms(flat(embedded(toy, records, whole(records), o)), flat(expected)),
                            dtype == DType::f64 ? 1e-7 : 1e-5)
                            << static_cast<int>(pool) << " tile " << tile.value_or(0) << packed;
                    }
            }
    }
}

TEST_P(EmbeddingOfEveryMixer,
       a_record_has_the_same_bits_whatever_stands_with_it_and_at_every_thread_and_tile) {
    std::vector<int64_t> lengths{1,   2,   15,  16,   17,   100,  192,  192,  200, 255,
                                 256, 257, 300, 1023, 1024, 1025, 1500, 2500, 5000};
    const auto records = records_of(lengths);
    ToyModel toy(GetParam(), DType::f32,
                 64);  // wide enough for a product's bits to follow from the number of its rows
    for (EmbedPool pool : {EmbedPool::mean, EmbedPool::none}) {
        Options o{.pool = pool, .outputs = {{1}, true}, .strands = BothStrands::concat};
        const Rows together = embedded(toy, records, whole(records), o);
        size_t row = 0;
        for (const TokenRecord& r : records) {
            const Rows alone = embedded(toy, {r}, whole({r}), o);
            for (const auto& values : alone) EXPECT_EQ(values, together[row++]) << r.symbols.size();
        }
        EXPECT_EQ(row, together.size());
        for (int threads : {1, 3}) {
            o.threads = threads;
            EXPECT_EQ(embedded(toy, records, whole(records), o), together) << threads;
        }
        for (int64_t tile : {1024, 2048, 16384}) {
            o.tile = tile;
            EXPECT_EQ(embedded(toy, records, whole(records), o), together) << tile;
        }
    }
}

TEST_P(EmbeddingOfEveryMixer, regions_are_pooled_from_the_stream_of_their_record_in_any_order) {
    const auto records = records_of({700, 90, 2000});
    const std::vector<Segment> regions{{2, 1000, 1200}, {0, 0, 700},     {2, 100, 1100}, {0, 699, 700},
                                       {0, 300, 400},   {2, 1000, 1200}, {2, 3, 4},      {0, 63, 64}};
    ToyModel toy(GetParam(), DType::f32);
    for (EmbedPool pool : kPools) {
        Options o{.pool = pool};
        Rows expected;
        for (const Segment& s : regions)
            for (auto& row : by_hand(toy, records[static_cast<size_t>(s.record)], {s}, o))
                expected.push_back(row);
        for (int64_t tile : {4096, 1024, 50, 1})
            for (bool packed : {false, true}) {
                o.tile = tile;
                o.packed = packed;
                EXPECT_LE(relative_rms(flat(embedded(toy, records, regions, o)), flat(expected)), 1e-5)
                    << tile << packed;
            }
    }
}

TEST_P(EmbeddingOfEveryMixer, a_region_has_the_same_bits_whatever_other_regions_there_are) {
    const auto records = records_of({3333});
    const std::vector<Segment> regions{{0, 5, 77}, {0, 2000, 2200}, {0, 3300, 3333}, {0, 700, 900}};
    ToyModel toy(GetParam(), DType::f32, 64);
    const Options o{.strands = BothStrands::concat};
    const Rows together = embedded(toy, records, regions, o);
    for (size_t i = 0; i < regions.size(); ++i)
        EXPECT_EQ(embedded(toy, records, {regions[i]}, o)[0], together[i]) << i;
    EXPECT_EQ(embedded(toy, records, {{0, 0, 3333}}, o), embedded(toy, records, whole(records), o));
}

TEST_P(EmbeddingOfEveryMixer, both_strands_are_those_of_the_sequence_and_of_its_reverse_complement) {
    const auto records = records_of({130, 1, 600});
    std::vector<TokenRecord> others;
    for (const TokenRecord& r : records) others.push_back(reversed(r));
    ToyModel toy(GetParam(), DType::f32);
    for (EmbedPool pool : kPools)
        for (bool packed : {false, true}) {
            Options o{.pool = pool, .outputs = {{1}, true}, .tile = 256, .packed = packed};
            const Rows forward = embedded(toy, records, whole(records), o);
            Rows backward = embedded(toy, others, whole(records), o);
            if (pool == EmbedPool::none)  // position i of a record is position n - 1 - i of the other strand
                for (auto [begin, end] : {std::pair{0, 130}, {131, 731}})
                    std::reverse(backward.begin() + begin, backward.begin() + end);
            Rows side_by_side = forward, mean = forward;
            for (size_t i = 0; i < forward.size(); ++i) {
                side_by_side[i].insert(side_by_side[i].end(), backward[i].begin(), backward[i].end());
                for (size_t c = 0; c < mean[i].size(); ++c)
                    mean[i][c] = 0.5f * (forward[i][c] + backward[i][c]);
            }
            o.strands = BothStrands::concat;
            EXPECT_LE(relative_rms(flat(embedded(toy, records, whole(records), o)), flat(side_by_side)),
                      1e-6);
            o.strands = BothStrands::mean;
            EXPECT_LE(relative_rms(flat(embedded(toy, records, whole(records), o)), flat(mean)), 1e-6);
        }
}

TEST_P(EmbeddingOfEveryMixer, a_region_of_the_other_strand_has_its_own_strand_first) {
    const auto records = records_of({900});
    ToyModel toy(GetParam(), DType::f32);
    for (EmbedPool pool : {EmbedPool::mean, EmbedPool::none}) {
        Options o{.pool = pool, .strands = BothStrands::concat};
        const Rows plus = embedded(toy, records, {{0, 100, 150}}, o);
        o.on_reverse = {true};
        const Rows minus = embedded(toy, records, {{0, 100, 150}}, o);
        ASSERT_EQ(plus.size(), minus.size());
        for (size_t i = 0; i < plus.size(); ++i) {
            std::vector<float> turned(plus[i].begin() + kWidth, plus[i].end());
            turned.insert(turned.end(), plus[i].begin(), plus[i].begin() + kWidth);
            EXPECT_EQ(minus[i], turned);
            EXPECT_NE(minus[i], plus[i]);
        }
        o.strands = BothStrands::mean;
        const Rows mean = embedded(toy, records, {{0, 100, 150}}, o);
        o.on_reverse = {};
        EXPECT_EQ(embedded(toy, records, {{0, 100, 150}}, o), mean);
    }
}

TEST(Embedding, what_is_not_finite_is_an_error_that_names_the_record) {
    ToyModel toy("mamba2", DType::f32);
    auto records = records_of({20, 30});
    // N has an embedding of NaN; only the second record holds one.
    for (auto& r : records)
        for (uint8_t& s : r.symbols) s &= 3;
    records[1].symbols[7] = 4;
    for (int64_t c = 0; c < kWidth; ++c)
        ToyModel::add(toy.params.masters(), 11 * kWidth + c, std::numeric_limits<double>::quiet_NaN());
    toy.params.refresh_copies();
    for (EmbedPool pool : kPools)
        EXPECT_THAT(error_of([&] { embedded(toy, records, whole(records), {.pool = pool}); }),
                    HasSubstr("r1: the embedding"));
}

TEST(Embedding, a_killed_or_failed_run_leaves_no_file) {
    const Scratch scratch;
    ToyModel toy("mamba1", DType::f32);
    const auto records = records_of({20, 30});
    const auto segments = whole(records);
    ThreadPool pool(1);
    const std::atomic<bool> stop{true};
    {
        EmbeddingFile file(scratch.path("e.h5"), 2, kWidth, BothStrands::mean, false);
        EXPECT_THROW(embed(toy.model, {.pool = &pool}, letters(), {records, segments, {}, true},
                           {.strands = BothStrands::mean}, file, {}, &stop),
                     Interrupted);
    }
    EXPECT_EQ(scratch.n_files(), 0);
}

TEST(Embedding, short_records_of_one_length_share_tiles) {
    const std::vector<int64_t> lengths(100, 40);
    const auto records = records_of(lengths);
    const auto segments = whole(records);
    TargetTiles tiles(letters(), records, segments, {.tile = 1024, .rows = 50});
    TargetTile tile;
    int64_t n = 0, rows = 0;
    for (; tiles.next(tile); ++n) rows += tile.rows;
    EXPECT_EQ(rows, 100);
    EXPECT_EQ(n, 5);  // 1024 / 48 = 21 rows a tile
    EXPECT_EQ(tiles.tokens_given(), 4800);
    EXPECT_EQ(tiles.tokens_in_all(), 4800);
    TargetTiles packed(letters(), records, segments, {.tile = 1024, .packed = true});
    for (n = 0; packed.next(tile); ++n) {
    }
    EXPECT_EQ(n, 4);
    EXPECT_EQ(packed.tokens_given(), 4000);
}

}  // namespace
}  // namespace adder
