// Batches of labelled records.
#include "pipelines/members.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/error.h"
#include "core/rng.h"

namespace adder {
namespace {

// Symbol s is token s, the other strand's 255 - s.
std::unique_ptr<Tokenizer> tokenizer() {
    SymbolTable table;
    for (size_t s = 0; s < 256; ++s) {
        table.id[s] = static_cast<uint16_t>(s);
        table.weight[s] = 1;
        table.complement[s] = static_cast<uint8_t>(255 - s);
    }
    return std::make_unique<SymbolTokenizer>(TokenSpace{256, 7, 1, true, "byte"}, table);
}

// Record i begins with the symbol i.
std::vector<TokenRecord> records_of(const std::vector<int64_t>& lengths) {
    std::vector<TokenRecord> records;
    for (size_t i = 0; i < lengths.size(); ++i) {
        TokenRecord r{.name = "r" + std::to_string(i)};
        for (int64_t t = 0; t < lengths[i]; ++t) r.symbols.push_back(static_cast<uint8_t>(i + 3 * static_cast<size_t>(t)));
        records.push_back(std::move(r));
    }
    return records;
}

std::vector<LabelledRecord> labels_of(const std::vector<TokenRecord>& records) {
    std::vector<LabelledRecord> members;
    for (size_t i = 0; i < records.size(); ++i)
        members.push_back({static_cast<int64_t>(i), static_cast<uint16_t>(i % 3), 1.0f + static_cast<float>(i % 2)});
    return members;
}

std::vector<int64_t> lengths_of(int64_t n, int64_t longest) {
    const Philox random(2, Stream::test);
    std::vector<int64_t> lengths;
    for (int64_t i = 0; i < n; ++i)
        lengths.push_back(1 + static_cast<int64_t>(random.below(static_cast<uint64_t>(i % 7 == 0 ? longest : 40), static_cast<uint64_t>(i))));
    return lengths;
}

struct Seen {
    std::vector<uint16_t> ids;
    uint16_t label;
    float weight;
};
// The members of a batch: what a model would be asked for.
std::vector<Seen> members_in(Batch& batch) {
    std::vector<Seen> all;
    for (int64_t b = 0; b < batch.B; ++b) {
        const BatchRow row = row_of(batch, b);
        EXPECT_EQ(row.start[0], 1);
        std::vector<uint16_t> ids;
        for (int64_t t = 0; t < batch.L; ++t) {
            if (row.start[t]) ids.clear();
            ids.push_back(row.ids[t]);
            if (row.weights[t] == 0) continue;
            EXPECT_LT(t, batch.filled);
            EXPECT_TRUE(t + 1 == batch.L || row.start[t + 1]);
            all.push_back({ids, row.targets[t], row.weights[t]});
        }
    }
    return all;
}

TEST(MemberSampler, every_record_is_seen_once_an_epoch_whole_with_its_class) {
    const auto tokens = tokenizer();
    const std::vector<TokenRecord> records = records_of(lengths_of(50, 5000));
    const std::vector<LabelledRecord> labels = labels_of(records);
    MemberSampler sampler(records, labels, *tokens, {.batch = 10, .seed = 3});
    EXPECT_EQ(sampler.steps_of(1), 5);
    Batch batch(sampler.rows(), sampler.length());
    std::vector<std::set<size_t>> order;
    for (int64_t step = 0; step < 15; ++step) {
        sampler.fill(step, 0, batch);
        const std::vector<Seen> seen = members_in(batch);
        ASSERT_EQ(seen.size(), 10u);
        int64_t n_tokens = 0;
        for (const Seen& m : seen) n_tokens += static_cast<int64_t>(m.ids.size());
        EXPECT_EQ(sampler.tokens_in(step), n_tokens);
        if (step % 5 == 0) order.emplace_back();
        for (const Seen& m : seen) {
            const size_t i = m.ids[0];
            ASSERT_EQ(m.ids.size(), records[i].symbols.size());
            for (size_t t = 0; t < m.ids.size(); ++t) ASSERT_EQ(m.ids[t], records[i].symbols[t]);
            EXPECT_EQ(m.label, labels[i].label);
            EXPECT_EQ(m.weight, labels[i].weight);
            EXPECT_TRUE(order.back().insert(i).second) << "twice in epoch " << step / 5;
        }
    }
    for (const auto& epoch : order) EXPECT_EQ(epoch.size(), 50u);
}

TEST(MemberSampler, batches_depend_on_seed_step_and_micro_batch_alone) {
    const auto tokens = tokenizer();
    const std::vector<TokenRecord> records = records_of(lengths_of(40, 900));
    const MemberOptions options{.batch = 6, .accumulation = 2, .seed = 9, .reverse = 0.5};
    MemberSampler a(records, labels_of(records), *tokens, options), b(records, labels_of(records), *tokens, options);
    Batch x(a.rows(), a.length()), y(a.rows(), a.length());
    const auto text = [](const Batch& batch) {
        const auto* ids = batch.ids.ref().ptr<uint16_t>("ids");
        return std::vector<uint16_t>(ids, ids + batch.B * batch.L);
    };
    for (int64_t step = 0; step < 20; ++step) a.fill(step, 1, x);
    b.fill(19, 1, y);
    EXPECT_EQ(text(x), text(y));
    EXPECT_EQ(x.filled, y.filled);
    b.fill(19, 0, y);
    EXPECT_NE(text(x), text(y));
    MemberOptions other = options;
    other.seed = 10;
    MemberSampler c(records, labels_of(records), *tokens, other);
    c.fill(19, 1, y);
    EXPECT_NE(text(x), text(y));
}

TEST(MemberSampler, records_begin_at_multiples_of_the_stride) {
    const auto tokens = tokenizer();
    const std::vector<TokenRecord> records = records_of(lengths_of(40, 90));
    MemberSampler sampler(records, labels_of(records), *tokens, {.batch = 25, .seed = 2, .stride = 16});
    Batch batch(sampler.rows(), sampler.length());
    EXPECT_EQ(sampler.length() % 16, 0);
    for (int64_t step = 0; step < 8; ++step) {
        sampler.fill(step, 0, batch);
        EXPECT_EQ(batch.filled % 16, 0);
        int64_t begun = 0, counted = 0;
        for (int64_t i = 0; i < batch.B * batch.L; ++i) {
            EXPECT_TRUE(batch.start.ref().ptr<uint8_t>("start")[i] == 0 || i % batch.L % 16 == 0);
            begun += batch.start.ref().ptr<uint8_t>("start")[i];
            counted += batch.weights.ref().ptr<float>("weights")[i] > 0;
        }
        EXPECT_EQ(counted, 25);
        EXPECT_LE(begun, 25 + batch.B);  // and the padding at the end of a row
    }
}

TEST(MemberSampler, any_batch_fits_and_is_as_wide_as_its_records_ask_for) {
    const auto tokens = tokenizer();
    for (int64_t n : {1, 2, 3, 7, 60})
        for (int64_t size : {1, 2, 5, 32}) {
            const std::vector<TokenRecord> records = records_of(lengths_of(n, 9000));
            MemberSampler sampler(records, labels_of(records), *tokens, {.batch = size, .seed = 1});
            Batch batch(sampler.rows(), sampler.length());
            int64_t narrowest = sampler.length();
            for (int64_t step = 0; step < 60; ++step) {
                sampler.fill(step, 0, batch);
                EXPECT_EQ(members_in(batch).size(), static_cast<size_t>(size));
                narrowest = std::min(narrowest, batch.filled);
            }
            if (n == 60 && size == 5) {
                EXPECT_LT(narrowest, sampler.length() / 4);
            }
        }
}

TEST(MemberSampler, short_records_are_packed_into_few_rows_and_long_ones_get_their_own) {
    const auto tokens = tokenizer();
    const std::vector<TokenRecord> small = records_of(std::vector<int64_t>(200, 200));
    MemberSampler thousands(small, labels_of(small), *tokens, {.batch = 4000});
    EXPECT_EQ(thousands.length(), 2000 + (4000 % thousands.rows() ? 200 : 0));
    EXPECT_NEAR(static_cast<double>(thousands.rows()), 4000 * 200 / 2048.0, 1.0);
    const std::vector<TokenRecord> large = records_of(std::vector<int64_t>(9, 100'000));
    MemberSampler few(large, labels_of(large), *tokens, {.batch = 4});
    EXPECT_EQ(few.length(), 100'000);
    EXPECT_EQ(few.rows(), 4);
}

TEST(MemberSampler, reversal_turns_whole_records_each_epoch_anew) {
    const auto tokens = tokenizer();
    const std::vector<TokenRecord> records = records_of(std::vector<int64_t>(64, 5));
    MemberSampler sampler(records, labels_of(records), *tokens, {.batch = 64, .seed = 4, .reverse = 0.5});
    Batch batch(sampler.rows(), sampler.length());
    std::vector<int64_t> turned;
    for (int64_t step = 0; step < 3; ++step) {
        sampler.fill(step, 0, batch);
        int64_t n = 0;
        for (const Seen& m : members_in(batch)) n += m.ids[0] >= 128;
        turned.push_back(n);
        EXPECT_GT(n, 16);
        EXPECT_LT(n, 48);
    }
    EXPECT_THAT(turned, testing::Not(testing::Each(turned[0])));
}

TEST(MemberSampler, what_cannot_be_learned_from_is_named) {
    const auto tokens = tokenizer();
    std::vector<TokenRecord> records = records_of({3, 0, 4});
    const auto message = [&](std::vector<LabelledRecord> members, const MemberOptions& options) {
        try {
            MemberSampler(records, std::move(members), *tokens, options);
        } catch (const Error& e) {
            return std::string(e.what());
        }
        return std::string("no error");
    };
    EXPECT_THAT(message({}, {}), testing::HasSubstr("nothing to train on"));
    EXPECT_THAT(message(labels_of(records), {}), testing::HasSubstr("record r1: 0 symbols are no byte"));
    EXPECT_THAT(message({{0, 0, 1}}, {.batch = 0}), testing::HasSubstr("batch"));
    EXPECT_THAT(message({{0, 0, 1}}, {.reverse = 2}), testing::HasSubstr("expected a probability"));
}

}  // namespace
}  // namespace adder
