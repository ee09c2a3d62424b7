// Reading and generating on a GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/generate.h"
#include "model/session.h"
#include "toy.h"

namespace adder {
namespace {

class SessionOnGpu : public testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        if (const std::string problem = gpu_problem(); !problem.empty()) GTEST_SKIP() << "skipped: no GPU: " << problem;
        gpu = std::make_unique<Gpu>();
    }
    ToyModel toy(DType storage) const { return {GetParam(), storage, 8, 2, Discretization::euler, Device::cuda}; }
    Compute compute(DType storage) const { return {Device::cuda, storage, nullptr, gpu.get()}; }
    std::unique_ptr<Gpu> gpu;
};
INSTANTIATE_TEST_SUITE_P(CudaModels, SessionOnGpu, testing::ValuesIn(model_names()));

std::vector<double> nats_by_tiles(ToyModel& toy, const Compute& compute, const Batch& batch, int64_t T) {
    Session session(toy.model, compute, batch.B, T, batch.B);
    std::vector<double> nats(static_cast<size_t>(batch.B * batch.L));
    // Twice: the second time from recorded work.
    for (int time = 0; time < 2; ++time) {
        for (int64_t b = 0; b < batch.B; ++b) session.reset(b);
        for (int64_t t = 0; t < batch.L; t += session.tile())
            session.score({0, batch.B, std::min(session.tile(), batch.L - t), t, batch.L, batch.ids.ref().ptr<uint16_t>("ids") + t,
                           batch.targets.ref().ptr<uint16_t>("targets") + t,
                           batch.weights.ref().ptr<float>("weights") + t, batch.start.ref().ptr<uint8_t>("start") + t},
                          nats.data() + t);
        session.finish();
    }
    return nats;
}

TEST_P(SessionOnGpu, scores_equal_those_of_the_cpu_at_any_tile) {
    ThreadPool pool(1);
    ToyModel here(GetParam(), DType::f32);
    const Batch batch = toy_batch(2, 70, {0, 30, 31}, 1, here.stride());
    const std::vector<double> exact = nats_by_tiles(here, {.pool = &pool}, batch, 70);
    for (DType storage : {DType::f32, DType::bf16}) {
        ToyModel there = toy(storage);
        for (int64_t T : {1, 16, 70})
            EXPECT_LE(relative_rms(nats_by_tiles(there, compute(storage), batch, T), exact),
                      storage == DType::f32 ? 1e-5 : 2e-2)
                << name_of(storage) << T;
    }
}

TEST_P(SessionOnGpu, steps_equal_tiles) {
    const int64_t L = 20;
    const Batch batch = toy_batch(1, L, {0});
    for (DType storage : {DType::f32, DType::bf16}) {
        ToyModel model = toy(storage);
        const int64_t V = model.model.vocab();
        const std::vector<double> nats = nats_by_tiles(model, compute(storage), batch, L);
        std::vector<double> stepped(nats.size());
        Session session(model.model, compute(storage), 1, 1);
        for (int64_t t = 0; t < L; ++t) {
            const HostCopy logits(session.step(batch.ids.ref().ptr<uint16_t>("ids") + t));
            if (batch.weights.ref().ptr<float>("weights")[t] == 0) continue;
            double sum = 0;
            for (int64_t v = 0; v < V; ++v) sum += std::exp(ToyModel::get(logits.ref(), v));
            const int64_t target = batch.targets.ref().ptr<uint16_t>("targets")[t];
            stepped[static_cast<size_t>(t)] = std::log(sum) - ToyModel::get(logits.ref(), target);
        }
        EXPECT_LE(relative_rms(stepped, nats), storage == DType::f32 ? 1e-5 : 2e-2) << name_of(storage);
    }
}

// Projections of a width that is no multiple of 16 bytes, of otherwise aligned parts: rows behind the first
// then stand at other addresses than a row alone. Widths that norms take eight columns at a time, and others.
TEST_P(SessionOnGpu, a_row_of_a_step_has_the_same_bits_in_any_batch) {
    const int64_t L = 12;
    const Batch batch = toy_batch(1, L, {0});
    const auto* ids = batch.ids.ref().ptr<uint16_t>("ids");
    // 64: the kernels for many rows, which read states before the kernels before have ended.
    for (const int64_t d_model : {16, 20, 64}) {
        for (DType storage : {DType::f32, DType::bf16}) {
            ModelConfig config = ToyModel::config(GetParam(), d_model, 2, Discretization::euler);
            config.d_state = d_model == 64 ? 16 : 8;
            config.headdim = 2 * d_model;
            config.ngroups = 1;
            ToyModel model(config, storage, Device::cuda);
            const int64_t V = model.model.vocab();
            Session one(model.model, compute(storage), 1, 1);
            for (const int64_t rows : {2, 3, 17, 65}) {
                Session many(model.model, compute(storage), rows, 1);
                one.reset(0);
                for (int64_t b = 0; b < rows; ++b) many.reset(b);
                for (int64_t t = 0; t < L; ++t) {
                    std::vector<uint16_t> of_rows(static_cast<size_t>(rows), ids[(t + 1) % L]);
                    of_rows.back() = ids[t];
                    const HostCopy alone(one.step(ids + t)), together(many.step(of_rows.data()));
                    for (int64_t v = 0; v < V; ++v)
                        ASSERT_EQ(ToyModel::get(together.ref(), (rows - 1) * V + v), ToyModel::get(alone.ref(), v))
                            << name_of(storage) << ", width " << d_model << ", " << rows << " rows, step " << t
                            << ", logit " << v;
                }
            }
        }
    }
}

std::vector<std::vector<uint16_t>> generated(ToyModel& toy, const Compute& compute, GenerateOptions o) {
    const std::vector<std::vector<uint16_t>> prompts{{7, 8, 9, 10, 7, 7, 7}, {}, {10}, {8, 8, 9}};
    o.sampler.allowed.assign(static_cast<size_t>(toy.model.vocab()), 0);
    for (size_t id : {7, 8, 9, 10}) o.sampler.allowed[id] = 1;
    std::vector<std::vector<uint16_t>> records;
    generate(
        toy.model, compute, o,
        [&](int64_t k) { return std::span<const uint16_t>(prompts[static_cast<size_t>(k) % prompts.size()]); },
        [&](int64_t, std::span<const uint16_t> tokens) { records.emplace_back(tokens.begin(), tokens.end()); });
    return records;
}

TEST_P(SessionOnGpu, a_generated_record_depends_on_seed_and_number_alone) {
    for (DType storage : {DType::f32, DType::bf16}) {
        ToyModel model = toy(storage);
        GenerateOptions o;
        o.n_tokens = 40;
        o.n_records = 18;
        o.seed = 5;
        o.batch = 1;
        o.tile = 3;
        o.sampler.temperature = 2;
        const auto alone = generated(model, compute(storage), o);
        for (const auto& record : alone) EXPECT_EQ(record.size(), 40u);
        for (int64_t batch : {3, 4, 17}) {
            o.batch = batch;
            EXPECT_EQ(generated(model, compute(storage), o), alone) << name_of(storage) << " " << batch;
        }
        o.seed = 6;
        EXPECT_NE(generated(model, compute(storage), o), alone);
    }
}

TEST_P(SessionOnGpu, alphabets_take_turns) {
    ToyModel model = toy(DType::f32);
    const auto V = static_cast<size_t>(model.model.vocab());
    GenerateOptions o;
    o.n_tokens = 40;
    o.n_records = 3;
    o.batch = 3;
    o.sampler.temperature = 5;
    o.sampler.allowed.assign(2 * V, 0);
    for (size_t id : {1, 2, 3}) o.sampler.allowed[id] = 1;
    for (size_t id : {5, 6}) o.sampler.allowed[V + id] = 1;
    const std::vector<std::vector<uint16_t>> prompts{{}, {2, 5, 1, 6, 2}, {3, 6}};
    generate(
        model.model, compute(DType::f32), o,
        [&](int64_t k) { return std::span<const uint16_t>(prompts[static_cast<size_t>(k)]); },
        [&](int64_t, std::span<const uint16_t> tokens) {
            for (size_t t = 0; t < tokens.size(); ++t) EXPECT_EQ(o.sampler.allowed[t % 2 * V + tokens[t]], 1) << t;
        });
}

TEST_P(SessionOnGpu, a_long_record_comes_back_whole) {
    ThreadPool pool(1);
    ToyModel here(GetParam(), DType::f32), there = toy(DType::f32);
    GenerateOptions o;
    o.n_tokens = 600;  // more than the device holds at a time
    o.n_records = 2;
    o.batch = 2;
    o.sampler.temperature = 0;
    const auto record = generated(there, compute(DType::f32), o);
    ASSERT_EQ(record.size(), 2u);
    EXPECT_EQ(record[1].size(), 600u);
    o.n_tokens = 60;
    const auto exact = generated(here, {.pool = &pool}, o);
    for (size_t k = 0; k < 2; ++k)
        EXPECT_TRUE(std::equal(exact[k].begin(), exact[k].end(), record[k].begin())) << k;
}

}  // namespace
}  // namespace adder
