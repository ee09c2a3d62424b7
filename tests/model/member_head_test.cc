// The head of a classifier: the pool of a member's positions, across tiles, packed or alone.
#include "model/member_head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "toy.h"

namespace adder {
namespace {

using Case = std::tuple<std::string, PoolKind>;

class PoolsOfEveryMixer : public testing::TestWithParam<Case> {
  protected:
    ModelConfig config(int64_t d_model = 8) const {
        return ToyModel::classifier(std::get<0>(GetParam()), std::get<1>(GetParam()), d_model);
    }
};
std::string name_of_case(const testing::TestParamInfo<Case>& info) {
    return std::get<0>(info.param) + "_" + name_of(std::get<1>(info.param));
}
INSTANTIATE_TEST_SUITE_P(Mixers, PoolsOfEveryMixer,
                         testing::Combine(testing::ValuesIn(mixer_names()), testing::ValuesIn(kPoolKinds)),
                         name_of_case);

// What the backbone gives for one sequence, in one piece: (L,M).
std::vector<double> outputs(ToyModel& toy, const uint16_t* ids, int64_t L) {
    ThreadPool pool(1);
    Arena scratch(Device::cpu, "scratch");
    const Compute compute{.storage = DType::f64, .pool = &pool};
    const int64_t M = toy.model.config().d_model;
    const StateStore state(toy.model.backbone().state_spec(1), DType::f64, 2);
    const TensorRef tokens(const_cast<uint16_t*>(ids), DType::u16, {1, L});
    const Tensor x(DType::f64, {1, L, M}), y(DType::f64, {1, L, M});
    for (bool plan : {true, false}) {
        Ctx ctx = compute.context(scratch, plan);
        toy.model.embed(ctx, tokens, x);
        toy.model.backbone().forward(ctx, {{1, L}, 0, {}}, x, y, state[0], state[1], nullptr);
        if (plan) scratch.bind(scratch.peak_bytes());
    }
    const auto* p = y.ref().ptr<double>("y");
    return {p, p + L * M};
}

std::vector<double> pooled(const std::vector<double>& y, int64_t L, PoolKind kind) {
    const size_t M = y.size() / static_cast<size_t>(L);
    std::vector<double> z(y.end() - static_cast<int64_t>(M), y.end());
    for (size_t m = 0; m < M && kind != PoolKind::last; ++m) {
        double sum = 0, top = y[m];
        for (size_t i = m; i < y.size(); i += M) sum += y[i], top = std::max(top, y[i]);
        z[m] = kind == PoolKind::mean ? sum / static_cast<double>(L) : top;
    }
    return z;
}

double nats_of(ToyModel& toy, const std::vector<double>& z, uint16_t label) {
    const auto& entries = toy.params.entries();
    const TensorRef weight = entries[entries.size() - 2].param->value, bias = entries.back().param->value;
    std::vector<double> logits;
    for (int64_t c = 0; c < 3; ++c) {
        double sum = ToyModel::get(bias, c);
        for (size_t m = 0; m < z.size(); ++m)
            sum += ToyModel::get(weight, c * static_cast<int64_t>(z.size()) + static_cast<int64_t>(m)) * z[m];
        logits.push_back(sum);
    }
    double all = 0;
    for (double x : logits) all += std::exp(x);
    return std::log(all) - logits[label];
}

TEST_P(PoolsOfEveryMixer, the_loss_is_that_of_each_member_alone) {
    ToyModel toy(config(), DType::f64);
    const int64_t L = 31;
    const Batch batch = member_batch(1, L, {0, 1, 4, 20}, 3);
    const ToyRun run = run_tiles(toy, batch, 7, 1);
    const auto* start = batch.start.ref().ptr<uint8_t>("start");
    const auto* weights = batch.weights.ref().ptr<float>("weights");
    double loss = 0, weight = 0;
    for (int64_t begin = 0, t = 0; t < L; ++t) {
        if (start[t]) begin = t;
        if (weights[t] == 0) continue;
        const std::vector<double> y = outputs(toy, batch.ids.ref().ptr<uint16_t>("ids") + begin, t + 1 - begin);
        const auto w = static_cast<double>(weights[t]);
        loss += w * nats_of(toy, pooled(y, t + 1 - begin, std::get<1>(GetParam())),
                            batch.targets.ref().ptr<uint16_t>("targets")[t]);
        weight += w;
    }
    EXPECT_GE(weight, 1);
    EXPECT_NEAR(run.sums.loss, loss, 1e-12 * loss);
    EXPECT_EQ(run.sums.weight, weight);
}

TEST_P(PoolsOfEveryMixer, gradient_equals_central_differences) {
    ToyModel toy(config(4), DType::f64);
    const Batch batch = member_batch(2, 11, {0, 4, 5});
    const ToyRun run = run_tiles(toy, batch, 3, 1);
    expect_central_differences(toy, batch, run, 5);
}

TEST_P(PoolsOfEveryMixer, tiled_equals_untiled_for_every_tile_length) {
    for (DType dtype : {DType::f64, DType::f32}) {
        ToyModel toy(config(), dtype);
        const int64_t L = 23;
        for (const std::vector<int64_t>& starts :
             {std::vector<int64_t>{0}, {}, {0, 1, 2, 9, 10, 21, 22}, {0, 6, 13}}) {
            const Batch batch = member_batch(3, L, starts);
            const ToyRun whole = run_tiles(toy, batch, L, 1);
            for (int64_t T = 1; T < L; ++T) {
                const ToyRun tiled = run_tiles(toy, batch, T, 1);
                const double tolerance = dtype == DType::f64 ? 1e-12 : 1e-5;
                EXPECT_LE(relative_rms(tiled.gradients, whole.gradients), tolerance) << name_of(dtype) << " T=" << T;
                EXPECT_NEAR(tiled.sums.loss, whole.sums.loss, tolerance * whole.sums.loss);
                EXPECT_EQ(tiled.sums.weight, whole.sums.weight);
            }
        }
    }
}

TEST_P(PoolsOfEveryMixer, keep_and_threads_change_no_bit) {
    ToyModel toy(config(24), DType::f32);
    const Batch batch = member_batch(2, 330, {0, 65, 200}, 30);
    const ToyRun none = run_tiles(toy, batch, 64, 0);
    for (int64_t keep : {1, 2, 6, 99}) EXPECT_EQ(run_tiles(toy, batch, 64, keep).gradients, none.gradients) << keep;
    for (int threads : {2, 3, 7}) EXPECT_EQ(run_tiles(toy, batch, 64, 0, threads).gradients, none.gradients);
}

TEST_P(PoolsOfEveryMixer, packed_members_equal_separate_sequences) {
    ToyModel toy(config(), DType::f64);
    const std::vector<int64_t> starts{0, 1, 4, 20};
    const int64_t L = 31;
    const Batch packed = member_batch(1, L, starts);
    const ToyRun together = run_tiles(toy, packed, 7, 1);
    std::vector<double> gradients(together.gradients.size());
    for (size_t m = 0; m < starts.size(); ++m) {
        const int64_t begin = starts[m], n = (m + 1 < starts.size() ? starts[m + 1] : L) - begin;
        Batch alone(1, n);
        copy(packed.ids.ref().slice(1, begin, n), alone.ids);
        copy(packed.targets.ref().slice(1, begin, n), alone.targets);
        copy(packed.weights.ref().slice(1, begin, n), alone.weights);
        const ToyRun run = run_tiles(toy, alone, n, 1);
        for (size_t i = 0; i < gradients.size(); ++i) gradients[i] += run.gradients[i];
    }
    EXPECT_LE(relative_rms(gradients, together.gradients), 1e-12);
}

TEST_P(PoolsOfEveryMixer, a_frozen_backbone_leaves_the_gradient_of_the_head) {
    ToyModel toy(config(), DType::f64), frozen(config(), DType::f64, Device::cpu, true);
    ASSERT_EQ(toy.values(), frozen.values());
    const Batch batch = member_batch(2, 40, {0, 7, 30}, 5);
    const ToyRun whole = run_tiles(toy, batch, 40, 1);
    const size_t head = 3 * 8 + 3, before = whole.gradients.size() - head;
    for (int64_t T : {1, 9, 40}) {
        const ToyRun run = run_tiles(frozen, batch, T, 1);
        EXPECT_NEAR(run.sums.loss, whole.sums.loss, 1e-12 * whole.sums.loss);
        for (size_t i = 0; i < before; ++i) EXPECT_EQ(run.gradients[i], 0);
        for (size_t i = before; i < whole.gradients.size(); ++i)
            EXPECT_NEAR(run.gradients[i], whole.gradients[i], 1e-12) << T;
    }
    const MemoryPlan a = plan_training(toy.model, {}, {2, 4096, 1024, 1});
    const MemoryPlan b = plan_training(frozen.model, {}, {2, 4096, 1024, 1});
    EXPECT_EQ(b.saved_bytes, 0);
    EXPECT_LT(b.border_bytes, a.border_bytes);
    EXPECT_LT(b.step_flops, 0.5 * a.step_flops);
}

TEST_P(PoolsOfEveryMixer, columns_that_are_not_filled_are_not_computed) {
    for (bool freeze : {false, true}) {
        ToyModel toy(config(), DType::f64, Device::cpu, freeze);
        Batch batch = member_batch(1, 60, {0, 5, 11}, 40);
        const ToyRun whole = run_tiles(toy, batch, 8, 2);
        for (int64_t t = 24; t < 60; ++t) batch.ids.ref().ptr<uint16_t>("ids")[t] = 60000;  // an error when it is read
        batch.filled = 20;
        const ToyRun part = run_tiles(toy, batch, 8, 2);
        EXPECT_LE(relative_rms(part.gradients, whole.gradients), 1e-12);
        EXPECT_EQ(part.sums.weight, whole.sums.weight);
    }
}

TEST(MemberHead, the_first_loss_is_the_logarithm_of_the_number_of_classes) {
    LanguageModel model(ToyModel::classifier("mamba2", PoolKind::mean));
    ParamStore params([&](ParamVisitor& v) { model.visit(v); }, DType::f32, true);
    params.initialise(3);
    const Batch batch = member_batch(2, 40, {0, 7, 30});
    const MemoryPlan plan = plan_training(model, {}, {2, 40, 40, 1});
    ThreadPool pool(1);
    const Compute compute{.pool = &pool};
    TileEngine engine(model, compute, plan);
    const Tensor sums(DType::f64, {2});
    engine.forward_backward(batch, sums);
    const auto* s = sums.ref().ptr<double>("sums");
    EXPECT_NEAR(s[0] / s[1], std::log(3), 1e-6);
}

TEST(MemberHead, classes_survive_config_json_and_bad_ones_are_named) {
    const ModelConfig c = ToyModel::classifier("mamba1", PoolKind::max);
    LanguageModel model(c);
    const nlohmann::json json = to_json(model.config());
    const ModelConfig back = model_config_from_json(json, "config.json");
    EXPECT_EQ(back.classes, c.classes);
    EXPECT_EQ(back.pool, PoolKind::max);
    const auto message = [&](const char* key, const nlohmann::json& value) {
        nlohmann::json bad = json;
        bad[key] = value;
        try {
            model_config_from_json(bad, "config.json");
        } catch (const Error& e) {
            return std::string(e.what());
        }
        return std::string("no error");
    };
    EXPECT_THAT(message("pool", "sum"), testing::HasSubstr("config.json: pool: expected mean, last or max, got \"sum\""));
    EXPECT_THAT(message("classes", {"a", "a"}), testing::HasSubstr("\"a\" is there twice"));
    EXPECT_THAT(message("classes", {"a"}), testing::HasSubstr("classes: 1 is outside 2 to 65535"));
}

}  // namespace
}  // namespace adder
