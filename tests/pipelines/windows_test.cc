#include "pipelines/windows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/rng.h"
#include "pipelines/permutation.h"
#include "pipelines/split.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::HasSubstr;

constexpr uint16_t kTestPad = 0;

// Ids 1 to 250; those above 200 are not scored.
const Tokenizer& tokenizer() {
    static const SymbolTokenizer t({.vocabulary = 251, .pad = kTestPad, .two_strands = true, .token = "test"}, [] {
        SymbolTable table;
        for (size_t i = 0; i < 256; ++i) {
            table.id[i] = static_cast<uint16_t>(i);
            table.complement[i] = static_cast<uint8_t>(251 - i);
            table.weight[i] = i >= 1 && i <= 200 ? 1 : 0;
        }
        return table;
    }());
    return t;
}

std::vector<TokenRecord> make_records(std::vector<int64_t> sizes) {
    const Philox rng(3, Stream::test);
    std::vector<TokenRecord> records;
    uint64_t k = 0;
    for (const int64_t n : sizes) {
        TokenRecord r = {fmt::format("r{}", records.size()), {}, kNoToken, {}, {}};
        for (int64_t i = 0; i < n; ++i) r.symbols.push_back(static_cast<uint8_t>(1 + rng.below(250, k++)));
        records.push_back(std::move(r));
    }
    return records;
}

std::string bytes_of(const Batch& batch) {
    std::string s;
    for (const Tensor* t : {&batch.ids, &batch.targets, &batch.weights, &batch.start}) {
        s.append(static_cast<const char*>(t->ref().data), static_cast<size_t>(t->ref().bytes()));
    }
    return s;
}

Batch batch_at(const WindowSampler& sampler, int64_t step, int64_t micro_batch = 0) {
    Batch batch(sampler.stage(step).B, sampler.stage(step).L);
    sampler.fill(step, micro_batch, batch);
    return batch;
}

// The members of one row: runs from one start flag to the next.
std::vector<std::string> members_of(Batch& batch, int64_t b) {
    const BatchRow row = row_of(batch, b);
    std::vector<std::string> members;
    for (int64_t t = 0; t < batch.L; ++t) {
        if (row.start[t]) members.emplace_back();
        if (members.empty()) throw std::runtime_error("a row must begin with a start flag");
        if (t > 0 && !row.start[t] && row.ids[t] != row.targets[t - 1])
            throw std::runtime_error("not consecutive");
        members.back() += static_cast<char>(row.ids[t]);
        if (t + 1 == batch.L || row.start[t + 1]) members.back() += static_cast<char>(row.targets[t]);
    }
    return members;
}

TEST(WindowSampler, every_position_is_seen_exactly_once_an_epoch) {
    struct Case {
        std::vector<int64_t> sizes;
        int64_t L, B;
    };
    for (const Case& c :
         {Case{{1000}, 64, 1}, Case{{1000, 3, 1, 2, 777, 64, 65}, 64, 2}, Case{{5, 6, 7}, 64, 1},
          Case{{2}, 1, 3}, Case{{129}, 64, 1}, Case{{40, 40, 40, 40}, 16, 5}}) {
        const std::vector<TokenRecord> records = make_records(c.sizes);
        const std::vector<Segment> segments = whole_records(records);
        // (id, target) pairs of all positions, with multiplicity, from the records themselves.
        std::map<std::pair<int, int>, int64_t> want;
        int64_t n = 0;
        for (const TokenRecord& r : records) {
            for (size_t i = 0; i + 1 < r.symbols.size(); ++i, ++n) ++want[{r.symbols[i], r.symbols[i + 1]}];
        }
        for (auto& [pair, count] : want) count *= c.B;
        for (int64_t stride : {1, 4, 16}) {
            if (c.L % stride != 0) continue;
            const WindowSampler sampler(records, segments, tokenizer(), {{{100, c.L, c.B}}, 1, 5, 0, stride});
            ASSERT_EQ(sampler.n_positions(), n);
            const int64_t n_windows = sampler.n_windows(c.L);  // steps of as many epochs as B, so that epochs end with batches
            std::map<std::pair<int, int>, int64_t> got;
            for (int64_t step = 0; step < n_windows; ++step) {
                Batch batch = batch_at(sampler, step);
                for (int64_t i = 0; i < c.B * c.L; ++i) {
                    const BatchRow at = row_of(batch, 0) + i;
                    EXPECT_TRUE(*at.start == 0 || i % c.L % stride == 0);
                    if (*at.ids == kTestPad) {
                        EXPECT_EQ(*at.weights, 0);
                        continue;
                    }
                    EXPECT_EQ(*at.weights, *at.targets <= 200 ? 1 : 0);
                    ++got[{*at.ids, *at.targets}];
                }
            }
            EXPECT_EQ(got, want);
        }
    }
}

TEST(WindowSampler, members_are_runs_of_one_segment_and_padding_is_one_of_its_own) {
    const std::vector<TokenRecord> records = make_records({300, 20, 9, 31, 150});
    const WindowSampler sampler(records, whole_records(records), tokenizer(), {{{100, 32, 1}}, 1, 9, 0});
    int64_t padded = 0, packed = 0;
    for (int64_t step = 0; step < 3 * sampler.n_windows(32); ++step) {
        Batch batch = batch_at(sampler, step);
        for (const std::string& member : members_of(batch, 0)) {
            if (member[0] == kTestPad) {
                EXPECT_EQ(member, std::string(member.size(), static_cast<char>(kTestPad)));
                ++padded;
                continue;
            }
            const bool inside = std::any_of(records.begin(), records.end(), [&](const TokenRecord& r) {
                return std::string(r.symbols.begin(), r.symbols.end()).find(member) != std::string::npos;
            });
            EXPECT_TRUE(inside);
            packed += member.size() < 33;
        }
    }
    EXPECT_GT(packed, 0);
    EXPECT_EQ(padded, 3);
}

TEST(WindowSampler, a_long_segment_gives_full_windows_but_for_its_ends) {
    const std::vector<TokenRecord> records = make_records({10'000});
    const WindowSampler sampler(records, whole_records(records), tokenizer(), {{{1000, 100, 1}}, 1, 2, 0});
    int64_t whole = 0;
    for (int64_t step = 0; step < sampler.n_windows(100); ++step) {
        Batch batch = batch_at(sampler, step);
        whole += members_of(batch, 0).size() == 1;
    }
    EXPECT_GE(whole, sampler.n_windows(100) - 2);
}

TEST(WindowSampler, a_batch_depends_on_seed_step_and_micro_batch_alone) {
    const std::vector<TokenRecord> records = make_records({500, 300});
    const std::vector<Segment> segments = whole_records(records);
    const std::vector<LengthStage> stages{{10, 16, 4}, {30, 64, 1}};
    const WindowSampler a(records, segments, tokenizer(), {stages, 2, 7, 0}),
        b(records, segments, tokenizer(), {stages, 2, 7, 0});
    const WindowSampler other_seed(records, segments, tokenizer(), {stages, 2, 8, 0});
    std::set<std::string> seen;
    int64_t same = 0;
    std::vector<std::string> forward;
    for (int64_t step = 0; step < 40; ++step) {
        for (int64_t m = 0; m < 2; ++m) {
            forward.push_back(bytes_of(batch_at(a, step, m)));
            seen.insert(forward.back());
            same += forward.back() == bytes_of(batch_at(other_seed, step, m));
        }
    }
    EXPECT_EQ(same, 0);
    EXPECT_GT(seen.size(), 50u);         // two epochs may draw one offset
    for (int64_t k = 79; k >= 0; --k) {  // backwards: nothing may depend on the batches before
        EXPECT_EQ(bytes_of(batch_at(b, k / 2, k % 2)), forward[static_cast<size_t>(k)]) << k;
    }
}

TEST(WindowSampler, stages_switch_at_their_steps_and_the_last_one_stays) {
    const std::vector<TokenRecord> records = make_records({500});
    const WindowSampler sampler(records, whole_records(records), tokenizer(),
                                {{{2, 8, 4}, {5, 16, 2}, {6, 32, 1}}, 1, 1, 0});
    for (const auto& [step, L] :
         std::map<int64_t, int64_t>{{0, 8}, {1, 8}, {2, 16}, {4, 16}, {5, 32}, {99, 32}}) {
        EXPECT_EQ(sampler.stage(step).L, L) << step;
    }
}

TEST(WindowSampler, what_lies_outside_the_segments_never_reaches_a_batch) {
    std::vector<TokenRecord> records = make_records({1000, 400});
    const Split split = split_records(records, {}, {.valid_fraction = 0.2, .gap = 37});
    EXPECT_EQ(split.n_unused, 74);
    const WindowSampler sampler(records, split.train, tokenizer(), {{{1000, 32, 2}}, 1, 4, 0});
    std::vector<std::string> before;
    for (int64_t step = 0; step < 60; ++step) before.push_back(bytes_of(batch_at(sampler, step)));
    for (TokenRecord& r : records) {
        const auto n_train = static_cast<int64_t>(r.symbols.size()) * 8 / 10 - 37;
        std::fill(r.symbols.begin() + n_train, r.symbols.end(), uint8_t{255});
    }
    for (int64_t step = 0; step < 60; ++step) {
        EXPECT_EQ(bytes_of(batch_at(sampler, step)), before[static_cast<size_t>(step)]) << step;
    }
    records[0].symbols[762] = 255;  // the last base of the train part: it does matter
    int64_t differing = 0;
    for (int64_t step = 0; step < 60; ++step) {
        differing += bytes_of(batch_at(sampler, step)) != before[static_cast<size_t>(step)];
    }
    EXPECT_GT(differing, 0);
}

// Pairs of neighbours of all members of an epoch, each on the strand where it is the smaller one; of members with a
// class token the targets.
std::map<std::pair<int, int>, int64_t> pairs_of_epoch(const WindowSampler& sampler, int64_t L, bool has_class) {
    std::map<std::pair<int, int>, int64_t> pairs;
    for (int64_t step = 0; step < sampler.n_windows(L); ++step) {
        Batch batch = batch_at(sampler, step);
        for (int64_t t = 0; t < L; ++t) {
            const BatchRow at = row_of(batch, 0) + t;
            if (*at.ids == kTestPad) continue;
            const int a = *at.ids, b = *at.targets;
            if (has_class)
                ++pairs[{0, std::min(b, 251 - b)}];
            else
                ++pairs[std::min(std::pair(a, b), std::pair(251 - b, 251 - a))];
        }
    }
    return pairs;
}

TEST(WindowSampler, turned_members_give_the_same_pairs_of_neighbours_once_an_epoch) {
    for (const uint16_t class_token : {kNoToken, uint16_t{300}}) {
        std::vector<TokenRecord> records = make_records({700, 30, 9, 210});
        for (TokenRecord& r : records) r.class_token = class_token;
        const auto segments = whole_records(records);
        const auto sampler = [&](double reverse) {
            return WindowSampler(records, segments, tokenizer(), {{{1000, 32, 1}}, 1, 8, reverse});
        };
        const auto want = pairs_of_epoch(sampler(0), 32, class_token != kNoToken);
        EXPECT_EQ(pairs_of_epoch(sampler(1), 32, class_token != kNoToken), want);
        EXPECT_EQ(pairs_of_epoch(sampler(0.5), 32, class_token != kNoToken), want);
    }
}

TEST(WindowSampler, members_are_turned_one_by_one_with_the_probability_asked_for_and_anew_each_epoch) {
    std::vector<TokenRecord> records = make_records(std::vector<int64_t>(400, 9));
    for (TokenRecord& r : records)
        for (size_t i = 0; i < 9; ++i) r.symbols[i] = static_cast<uint8_t>(10 + i);  // turned: 241 down to 233, ascending
    const auto turned = [&](double reverse, uint64_t seed) {
        const WindowSampler sampler(records, whole_records(records), tokenizer(), {{{1000, 64, 1}}, 1, seed, reverse});
        std::vector<bool> result;
        for (int64_t step = 0; step < 2 * sampler.n_windows(64); ++step) {
            Batch batch = batch_at(sampler, step);
            for (const std::string& member : members_of(batch, 0))
                if (member[0] != kTestPad) result.push_back(static_cast<unsigned char>(member[0]) > 125);
        }
        return result;
    };
    const auto count = [](const std::vector<bool>& v) { return std::count(v.begin(), v.end(), true); };
    const std::vector<bool> some = turned(0.3, 1);
    EXPECT_NEAR(static_cast<double>(count(some)) / static_cast<double>(some.size()), 0.3, 0.05);
    EXPECT_EQ(count(turned(0, 1)), 0);
    EXPECT_EQ(count(turned(1, 1)), static_cast<int64_t>(turned(1, 1).size()));
    EXPECT_EQ(some, turned(0.3, 1));
    EXPECT_NE(some, turned(0.3, 2));
    const auto half = static_cast<std::ptrdiff_t>(some.size() / 2);
    EXPECT_FALSE(std::equal(some.begin(), some.begin() + half, some.begin() + half));
}

TEST(WindowSampler, a_class_token_begins_every_member_and_takes_no_target) {
    std::vector<TokenRecord> records = make_records({300, 1, 40});
    for (size_t i = 0; i < records.size(); ++i) records[i].class_token = static_cast<uint16_t>(300 + i);
    const WindowSampler sampler(records, whole_records(records), tokenizer(), {{{1000, 32, 1}}, 1, 3, 0});
    EXPECT_EQ(sampler.n_positions(), 341);
    std::map<int, int64_t> targets, want;
    for (const TokenRecord& r : records)
        for (const uint8_t s : r.symbols) ++want[s];
    for (int64_t step = 0; step < sampler.n_windows(32); ++step) {
        Batch batch = batch_at(sampler, step);
        const BatchRow row = row_of(batch, 0);
        for (int64_t t = 0; t < 32; ++t) {
            if (row.ids[t] == kTestPad) continue;
            EXPECT_EQ(row.ids[t] >= 300, row.start[t] == 1);
            ++targets[row.targets[t]];
        }
    }
    EXPECT_EQ(targets, want);
}

TEST(WindowSampler, orders_and_offsets_differ_between_epochs) {
    const std::vector<TokenRecord> records = make_records({641});
    const WindowSampler sampler(records, whole_records(records), tokenizer(), {{{1000, 16, 1}}, 1, 6, 0});
    std::set<std::string> windows;
    for (int64_t step = 0; step < 80; ++step) windows.insert(bytes_of(batch_at(sampler, step)));
    EXPECT_GE(windows.size(), 75u);  // with one offset for both epochs there would be 40 or 41
}

TEST(WindowSampler, malformed_stages_and_nothing_to_train_on_are_errors) {
    const std::vector<TokenRecord> records = make_records({100}), single = make_records({1, 1});
    auto error = [&](std::vector<LengthStage> stages, int64_t accumulation = 1) {
        return error_of(
            [&] { WindowSampler(records, whole_records(records), tokenizer(), {stages, accumulation, 1, 0}); });
    };
    EXPECT_THAT(error({}), HasSubstr("at least one"));
    EXPECT_THAT(error({{10, 0, 1}}), HasSubstr("at least 1"));
    EXPECT_THAT(error({{10, 8, 2}, {20, 16, 2}}), HasSubstr("expected B L = 16"));
    EXPECT_THAT(error({{10, 8, 2}, {10, 16, 1}}), HasSubstr("expected to end after step 10"));
    EXPECT_THAT(error({{10, INT64_MAX / 2, 3}}), HasSubstr("tokens in a batch"));
    EXPECT_THAT(error({{10, 8, 2}}, 0), HasSubstr("accumulation"));
    EXPECT_THAT(error_of([&] {
                    WindowSampler(single, whole_records(single), tokenizer(), {{{1, 8, 1}}, 1, 1, 0});
                }),
                HasSubstr("nothing to train on"));
}

TEST(Permutation, is_a_permutation_of_any_size_and_differs_between_keys) {
    for (const int64_t n : {1, 2, 3, 4, 5, 16, 17, 1000, 4097}) {
        const Permutation p(n, 42), q(n, 43);
        std::vector<int64_t> seen(static_cast<size_t>(n));
        int64_t same = 0;
        for (int64_t i = 0; i < n; ++i) {
            ++seen[static_cast<size_t>(p(i))];
            same += p(i) == q(i);
        }
        EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), n);
        EXPECT_LT(same, n >= 1000 ? 12 : n + 1);  // about one is expected
    }
}

TEST(Permutation, sends_every_index_everywhere_equally_often) {
    constexpr int64_t kSize = 7, kKeys = 14'000;
    int64_t count[kSize][kSize] = {};
    for (int64_t key = 0; key < kKeys; ++key) {
        const Permutation p(kSize, static_cast<uint64_t>(key));
        for (int64_t i = 0; i < kSize; ++i) ++count[i][p(i)];
    }
    for (const auto& row : count) {
        for (const int64_t c : row) EXPECT_NEAR(static_cast<double>(c), 2000, 200);  // 4.8 sigma
    }
}

TEST(Permutation, works_past_two_to_the_31) {
    const int64_t n = (int64_t{1} << 40) + 12345;
    const Permutation p(n, 1);
    std::set<int64_t> seen;
    int64_t largest = 0;
    for (int64_t i = 0; i < 1000; ++i) {
        const int64_t v = p(n - 1 - i);
        EXPECT_TRUE(v >= 0 && v < n);
        seen.insert(v);
        largest = std::max(largest, v);
    }
    EXPECT_EQ(seen.size(), 1000u);
    EXPECT_GT(largest, n / 2);
}

}  // namespace
}  // namespace adder
