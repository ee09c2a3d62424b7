// Step by step = tiles, and generation.
#include "model/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <set>

#include "model/generate.h"
#include "toy.h"

namespace adder {
namespace {

class SessionOfEveryModel : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Models, SessionOfEveryModel, testing::ValuesIn(model_names()));

// Steps [t, t + n) of all rows.
TokenRows rows_of(const Batch& batch, int64_t t, int64_t n) {
    return {0, batch.B, n, t, batch.L, batch.ids.ref().ptr<uint16_t>("ids") + t,
            batch.targets.ref().ptr<uint16_t>("targets") + t, batch.weights.ref().ptr<float>("weights") + t,
            batch.start.ref().ptr<uint8_t>("start") + t};
}

std::vector<double> nats_by_tiles(ToyModel& toy, const Batch& batch, int64_t T) {
    ThreadPool pool(2);
    Session session(toy.model, {.storage = toy.storage, .pool = &pool}, batch.B, T, batch.B);
    std::vector<double> nats(static_cast<size_t>(batch.B * batch.L));
    for (int64_t t = 0; t < batch.L; t += session.tile())
        session.score(rows_of(batch, t, std::min(session.tile(), batch.L - t)), nats.data() + t);
    return nats;
}

TEST_P(SessionOfEveryModel, steps_equal_tiles) {
    for (DType dtype : {DType::f64, DType::f32}) {
        ToyModel toy(GetParam(), dtype);
        const int64_t L = 70;
        const Batch batch = toy_batch(1, L, {0});
        const std::vector<double> nats = nats_by_tiles(toy, batch, L);
        ThreadPool pool(1);
        Session session(toy.model, {.storage = dtype, .pool = &pool}, 1, 1);
        double worst = 0, largest = 0;
        for (int64_t t = 0; t < L; ++t) {
            const TensorRef logits = session.step(batch.ids.ref().ptr<uint16_t>("ids") + t);
            double sum = 0;
            for (int64_t v = 0; v < toy.model.vocab(); ++v) sum += std::exp(ToyModel::get(logits, v));
            const double nat = std::log(sum) - ToyModel::get(logits, batch.targets.ref().ptr<uint16_t>("targets")[t]);
            if (batch.weights.ref().ptr<float>("weights")[t] == 0) continue;
            worst = std::max(worst, std::abs(nat - nats[static_cast<size_t>(t)]));
            largest = std::max(largest, nat);
        }
        EXPECT_LE(worst, (dtype == DType::f64 ? 1e-12 : 1e-5) * largest);
    }
}

TEST_P(SessionOfEveryModel, scores_do_not_depend_on_the_tile) {
    ToyModel toy(GetParam(), DType::f32);
    const Batch batch = toy_batch(1, 300, {0, 65, 66, 127}, 1, toy.stride());
    const std::vector<double> whole = nats_by_tiles(toy, batch, 300);
    for (int64_t T : {1, 3, 64, 100, 256}) EXPECT_LE(relative_rms(nats_by_tiles(toy, batch, T), whole), 1e-5) << T;
}

TEST_P(SessionOfEveryModel, rows_that_are_read_together_score_as_alone) {
    ToyModel toy(GetParam(), DType::f32);
    const Batch batch = toy_batch(3, 90, {0, 30, 64}, 1, toy.stride());
    const std::vector<double> together = nats_by_tiles(toy, batch, 40);
    for (int64_t b = 0; b < 3; ++b) {
        Batch row(1, 90);
        for (auto [from, to] : {std::pair{&batch.ids, &row.ids}, {&batch.targets, &row.targets},
                                {&batch.weights, &row.weights}, {&batch.start, &row.start}})
            copy(from->ref().slice(0, b, 1), *to);
        EXPECT_EQ(nats_by_tiles(toy, row, 40), std::vector<double>(together.begin() + b * 90, together.begin() + (b + 1) * 90));
    }
}

TEST_P(SessionOfEveryModel, training_loss_equals_scored_loss) {
    ToyModel toy(GetParam(), DType::f64);
    Batch batch = toy_batch(1, 50, {0, 20}, 1, toy.stride());
    auto* weights = batch.weights.ref().ptr<float>("weights");
    for (int64_t t = 0; t < 50; ++t) weights[t] = weights[t] > 0 ? 1.0f : 0.0f;
    double sum = 0;
    for (double n : nats_by_tiles(toy, batch, 16)) sum += n;
    EXPECT_NEAR(sum, run_tiles(toy, batch, toy.tile(9), 2).sums.loss, 1e-11 * sum);
}

std::vector<std::vector<uint16_t>> generated(ToyModel& toy, GenerateOptions o,
                                             const std::vector<std::vector<uint16_t>>& prompts, int threads = 1) {
    ThreadPool pool(threads);
    o.sampler.allowed.assign(static_cast<size_t>(toy.model.vocab()), 0);
    for (size_t id : {7, 8, 9, 10}) o.sampler.allowed[id] = 1;
    std::vector<std::vector<uint16_t>> records;
    generate(
        toy.model, {.storage = toy.storage, .pool = &pool}, o,
        [&](int64_t k) { return std::span<const uint16_t>(prompts[static_cast<size_t>(k) % prompts.size()]); },
        [&](int64_t k, std::span<const uint16_t> tokens) {
            EXPECT_EQ(k, static_cast<int64_t>(records.size()));
            records.emplace_back(tokens.begin(), tokens.end());
        });
    return records;
}

TEST_P(SessionOfEveryModel, a_generated_record_depends_on_seed_and_number_alone) {
    ToyModel toy(GetParam(), DType::f32);
    const std::vector<std::vector<uint16_t>> prompts{{7, 8, 9, 10, 7, 7, 7}, {}, {10}, {8, 8, 9}};
    GenerateOptions o;
    o.n_tokens = 40;
    o.sampler.temperature = 2;
    o.n_records = 19;
    o.seed = 5;
    o.batch = 1;
    o.tile = 3;
    const auto alone = generated(toy, o, prompts);
    for (int64_t batch : {3, 4, 8, 17, 64}) {
        o.batch = batch;
        EXPECT_EQ(generated(toy, o, prompts, 2), alone) << batch;
    }
    o.n_records = 4;
    o.batch = 2;
    EXPECT_THAT(generated(toy, o, prompts), testing::ElementsAreArray(alone.begin(), alone.begin() + 4));
    std::set<std::vector<uint16_t>> distinct(alone.begin(), alone.end());
    EXPECT_EQ(distinct.size(), alone.size());
    for (size_t k = 0; k < alone.size(); ++k) {
        ASSERT_EQ(alone[k].size(), 40u);
        const auto& prompt = prompts[k % 4];
        EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), alone[k].begin()));
        for (uint16_t id : alone[k]) EXPECT_TRUE(id >= 7 && id <= 10);
    }
    o.seed = 6;
    EXPECT_NE(generated(toy, o, prompts), alone);
}

TEST_P(SessionOfEveryModel, samples_follow_the_models_probabilities) {
    ToyModel toy(GetParam(), DType::f32);
    const std::vector<std::vector<uint16_t>> prompts{{7, 10, 8}};
    ThreadPool pool(1);
    Session session(toy.model, {.pool = &pool}, 1, 8);
    session.read({0, 1, 2, 0, 0, prompts[0].data()});
    const TensorRef logits = session.step(&prompts[0][2]);
    double total = 0, p[16] = {};
    for (int id = 7; id <= 10; ++id) total += p[id] = std::exp(ToyModel::get(logits, id));
    GenerateOptions o;
    o.n_tokens = 4;
    o.n_records = 4000;
    o.batch = 500;
    double count[16] = {};
    for (const auto& record : generated(toy, o, prompts)) count[record[3]] += 1;
    for (int id = 7; id <= 10; ++id) {
        const double q = p[id] / total;
        EXPECT_NEAR(count[id] / 4000, q, 4 * std::sqrt(q * (1 - q) / 4000) + 1e-4) << id;
    }
    o.n_records = 1;
    o.sampler.temperature = 0;
    const auto greedy = generated(toy, o, prompts);
    EXPECT_EQ(p[greedy[0][3]], *std::max_element(p, p + 16));
}

TEST_P(SessionOfEveryModel, pieces_of_records_make_the_same_records_in_memory_that_does_not_grow) {
    ToyModel toy(GetParam(), DType::f32);
    const std::vector<std::vector<uint16_t>> prompts{{7, 8, 9, 10, 7, 7, 7}, {}, {10}};
    GenerateOptions o;
    o.n_tokens = 1500;
    o.n_records = 3;
    o.batch = 2;
    o.seed = 3;
    const auto whole = generated(toy, o, prompts);
    ThreadPool pool(1);
    o.sampler.allowed.assign(static_cast<size_t>(toy.model.vocab()), 0);
    for (size_t id : {7, 8, 9, 10}) o.sampler.allowed[id] = 1;
    std::vector<std::vector<uint16_t>> records(3);
    for (auto& r : records) r.reserve(1500);
    std::vector<size_t> in_use;  // by the whole process, at the pieces of record 0
    generate_pieces(
        toy.model, {.pool = &pool}, o, [&](int64_t k) { return std::span<const uint16_t>(prompts[static_cast<size_t>(k)]); },
        [&](int64_t k, int64_t first, std::span<const uint16_t> tokens) {
            auto& record = records[static_cast<size_t>(k)];
            EXPECT_EQ(first, std::ssize(record));
            EXPECT_LE(tokens.size(), 256u);
            record.insert(record.end(), tokens.begin(), tokens.end());
            if (k == 0) in_use.push_back(mallinfo2().uordblks);
        });
    EXPECT_EQ(records, whole);
    ASSERT_GE(in_use.size(), 6u);
    EXPECT_LE(in_use.back(), in_use[2] + 512);
}

TEST_P(SessionOfEveryModel, alphabets_take_turns) {
    ToyModel toy(GetParam(), DType::f32);
    const auto V = static_cast<size_t>(toy.model.vocab());
    GenerateOptions o;
    o.n_tokens = 60;
    o.n_records = 3;
    o.batch = 2;
    o.sampler.temperature = 5;
    o.sampler.allowed.assign(3 * V, 0);
    for (size_t id : {1, 2, 3}) o.sampler.allowed[id] = 1;
    for (size_t id : {5, 6}) o.sampler.allowed[V + id] = 1;
    for (size_t id : {8, 9}) o.sampler.allowed[2 * V + id] = 1;
    const std::vector<std::vector<uint16_t>> prompts{{}, {2, 5}, {}};
    ThreadPool pool(1);
    std::set<uint16_t> seen;
    generate(
        toy.model, {.pool = &pool}, o, [&](int64_t k) { return std::span<const uint16_t>(prompts[static_cast<size_t>(k)]); },
        [&](int64_t, std::span<const uint16_t> tokens) {
            for (size_t t = 0; t < tokens.size(); ++t) {
                EXPECT_EQ(o.sampler.allowed[t % 3 * V + tokens[t]], 1) << t;
                seen.insert(tokens[t]);
            }
        });
    EXPECT_EQ(seen, (std::set<uint16_t>{1, 2, 3, 5, 6, 8, 9}));
    o.sampler.allowed.assign(3 * V, 0);
    o.sampler.allowed[0] = o.sampler.allowed[V] = 1;
    EXPECT_THROW(generate(toy.model, {.pool = &pool}, o, [&](int64_t) { return std::span<const uint16_t>(); }, {}), Error);
}

TEST(Generate, a_prompt_longer_than_the_record_is_an_error) {
    ToyModel toy("mamba1", DType::f32);
    GenerateOptions o;
    o.n_tokens = 2;
    EXPECT_THROW(generated(toy, o, {{7, 8, 9}}), Error);
}

TEST(Sampler, top_k_and_top_p_cut_the_tail) {
    Tensor logits(DType::f64, {5});
    auto* l = logits.ref().ptr<double>("l");
    const double p[] = {0.4, 0.3, 0.15, 0.1, 0.05};
    for (int i = 0; i < 5; ++i) l[i] = std::log(p[i]);
    SamplerOptions o;
    o.allowed.assign(5, 1);
    std::vector<uint16_t> order;
    auto reach = [&] {
        std::set<uint16_t> seen;
        for (int i = 0; i < 1000; ++i) seen.insert(sample(logits, o, 0, i / 1000.0, order));
        return seen;
    };
    EXPECT_EQ(reach().size(), 5u);
    o.top_k = 2;
    EXPECT_EQ(reach(), (std::set<uint16_t>{0, 1}));
    o.top_k = 0;
    o.top_p = 0.8;
    EXPECT_EQ(reach(), (std::set<uint16_t>{0, 1, 2}));
    o.top_p = 0.69;
    EXPECT_EQ(reach(), (std::set<uint16_t>{0, 1}));
    o.allowed[0] = 0;
    EXPECT_EQ(reach(), (std::set<uint16_t>{1, 2}));  // 0.5 and 0.25 of what is left
    o.top_p = 0;
    o.temperature = 0;
    EXPECT_EQ(reach(), (std::set<uint16_t>{1}));
    l[3] = std::nan("");
    EXPECT_THROW(sample(logits, o, 0, 0, order), Error);
}

}  // namespace
}  // namespace adder
