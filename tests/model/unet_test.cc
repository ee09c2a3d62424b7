// What pools add to the promises: any length behind whole groups, steps from any phase, no look ahead, sizes as published.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/published.h"
#include "model/session.h"
#include "toy.h"

namespace adder {
namespace {

class UNetOfEveryMixer : public testing::TestWithParam<std::string> {
  protected:
    std::string name() const { return "unet " + GetParam(); }
};

INSTANTIATE_TEST_SUITE_P(Mixers, UNetOfEveryMixer, testing::ValuesIn(mixer_names()));

double tolerance(DType dtype) { return dtype == DType::f64 ? 1e-12 : 1e-5; }

TEST_P(UNetOfEveryMixer, tiled_equals_untiled_at_every_length) {
    for (DType dtype : {DType::f64, DType::f32}) {
        ToyModel toy(name(), dtype);
        const int64_t s = toy.stride();
        ASSERT_EQ(s, 6);
        for (int64_t L = 1; L <= 4 * s; ++L) {
            const Batch batch = toy_batch(3, L, {0, 2 * s}, 1, s);
            const ToyRun whole = run_tiles(toy, batch, L, 1);
            for (int64_t T = s; T < L; T += s) {
                const ToyRun tiled = run_tiles(toy, batch, T, 1);
                EXPECT_LE(relative_rms(tiled.gradients, whole.gradients), tolerance(dtype)) << "L=" << L << " T=" << T;
                EXPECT_NEAR(tiled.sums.loss, whole.sums.loss, tolerance(dtype) * whole.sums.loss);
            }
        }
    }
}

// Nats of the targets of row 0 by single steps behind the first `read` tokens, which are read as a tile.
std::vector<double> nats_by_steps(ToyModel& toy, const Batch& batch, int64_t read) {
    ThreadPool pool(1);
    Session session(toy.model, {.storage = toy.storage, .pool = &pool}, 1, batch.L);
    const auto* ids = batch.ids.ref().ptr<uint16_t>("ids");
    const auto* start = batch.start.ref().ptr<uint8_t>("start");
    if (read > 0) session.read({0, 1, read, 0, 0, ids, nullptr, nullptr, start});
    std::vector<double> nats;
    for (int64_t t = read; t < batch.L; ++t) {
        const TensorRef logits = session.step(ids + t);
        double sum = 0;
        for (int64_t v = 0; v < toy.model.vocab(); ++v) sum += std::exp(ToyModel::get(logits, v));
        nats.push_back(std::log(sum) - ToyModel::get(logits, batch.targets.ref().ptr<uint16_t>("targets")[t]));
    }
    return nats;
}

std::vector<double> nats_at_once(ToyModel& toy, const Batch& batch) {
    ThreadPool pool(1);
    Session session(toy.model, {.storage = toy.storage, .pool = &pool}, 1, batch.L);
    std::vector<double> nats(static_cast<size_t>(batch.L));
    const std::vector<float> ones(nats.size(), 1);
    session.score({0, 1, batch.L, 0, 0, batch.ids.ref().ptr<uint16_t>("ids"), batch.targets.ref().ptr<uint16_t>("targets"),
                   ones.data(), batch.start.ref().ptr<uint8_t>("start")},
                  nats.data());
    return nats;
}

TEST_P(UNetOfEveryMixer, steps_from_every_phase_equal_one_tile) {
    for (DType dtype : {DType::f64, DType::f32}) {
        ToyModel toy(name(), dtype);
        const int64_t L = 31;
        const Batch batch = toy_batch(1, L, {0});
        const std::vector<double> whole = nats_at_once(toy, batch);
        for (int64_t read = 0; read < 2 * toy.stride() + 2; ++read)
            EXPECT_LE(relative_rms(nats_by_steps(toy, batch, read), {whole.begin() + read, whole.end()}), tolerance(dtype))
                << name_of(dtype) << " from " << read;
    }
}

TEST_P(UNetOfEveryMixer, steps_behind_a_start_in_the_open_group_see_nothing_before_it) {
    ToyModel toy(name(), DType::f64);
    const int64_t s = toy.stride(), L = 3 * s;
    const Batch batch = toy_batch(1, L, {0, s});
    Batch alone(1, L - s);
    copy(batch.ids.ref().slice(1, s, L - s), alone.ids);
    copy(batch.targets.ref().slice(1, s, L - s), alone.targets);
    for (int64_t r = 1; r < s; ++r)
        EXPECT_LE(relative_rms(nats_by_steps(toy, batch, s + r), nats_by_steps(toy, alone, r)), 1e-12) << r;
}

TEST_P(UNetOfEveryMixer, no_row_sees_what_comes_after_it) {
    ToyModel toy(name(), DType::f32);
    const int64_t L = 25;
    Batch batch = toy_batch(1, L, {0});
    const std::vector<double> before = nats_at_once(toy, batch);
    for (int64_t t = 0; t < L; ++t) {
        uint16_t& id = batch.ids.ref().ptr<uint16_t>("ids")[t];
        const uint16_t kept = id;
        id = kept == 7 ? 8 : 7;
        const std::vector<double> after = nats_at_once(toy, batch);
        id = kept;
        for (int64_t k = 0; k < t; ++k) EXPECT_EQ(after[static_cast<size_t>(k)], before[static_cast<size_t>(k)]) << t;
        EXPECT_NE(after[static_cast<size_t>(t)], before[static_cast<size_t>(t)]);
    }
}

TEST_P(UNetOfEveryMixer, distant_rows_are_heard_through_the_stages_below) {
    ToyModel toy(name(), DType::f64);
    // Without what the mixers of the outermost stage carry, only the stages below connect its groups.
    for (const auto& e : toy.params.entries())
        if (e.spec.name.find("stages.0.") != std::string::npos && e.spec.name.find("out_proj") != std::string::npos)
            fill_zero(e.param->master);
    const int64_t s = toy.stride(), L = 4 * s;
    Batch batch = toy_batch(1, L, {0});
    const std::vector<double> before = nats_at_once(toy, batch);
    batch.ids.ref().ptr<uint16_t>("ids")[1] = batch.ids.ref().ptr<uint16_t>("ids")[1] == 7 ? 8 : 7;
    const std::vector<double> after = nats_at_once(toy, batch);
    EXPECT_EQ(after[2], before[2]);  // of the same group
    for (int64_t t = 3; t < L; ++t) EXPECT_NE(after[static_cast<size_t>(t)], before[static_cast<size_t>(t)]) << t;
}

TEST_P(UNetOfEveryMixer, a_start_inside_a_group_is_an_error) {
    ToyModel toy(name(), DType::f32);
    const Batch batch = toy_batch(1, 20, {0, 7});
    try {
        run_tiles(toy, batch, 20, 1);
        FAIL();
    } catch (const Error& e) {
        EXPECT_THAT(std::string(e.what()), testing::HasSubstr("row 0 has one at step 7, inside a group of 3"));
    }
}

TEST(UNet, tiles_that_would_end_inside_a_group_are_an_error) {
    ToyModel toy("unet mamba1", DType::f32);
    try {
        plan_training(toy.model, {}, {1, 100, 16, 1});
        FAIL();
    } catch (const Error& e) {
        EXPECT_THAT(std::string(e.what()), testing::HasSubstr("need multiples of 6; hint: --tile 12"));
    }
    const MemoryPlan all = choose_tiles(toy.model, {}, {1, 5000, 0, -1}, int64_t{1} << 40);
    EXPECT_EQ(all.tiles.T, 5000);
    EXPECT_EQ(choose_tiles(toy.model, {}, {1, 5000, 0, -1}, all.total_bytes() / 3).tiles.T % 6, 0);
}

TEST(UNet, published_models_have_the_parameters_that_were_stated) {
    struct Count : ParamVisitor {
        int64_t n = 0;
        void on_param(const ParamSpec& spec, Param&) override { n += spec.shape.numel(); }
    };
    for (const PublishedModel& m : published_models()) {
        Count count;
        LanguageModel(m.config(256)).visit(count);
        EXPECT_NEAR(static_cast<double>(count.n), m.parameters, 0.01 * m.parameters) << m.name << " " << count.n;
        RecordProperty(m.name, std::to_string(count.n));
    }
    EXPECT_THROW(find_published_model("sc10"), Error);
    EXPECT_EQ(LanguageModel(find_published_model("youtubemix").config(256)).backbone().stride(), 256);
}

TEST(UNet, stages_may_have_mixers_of_their_own) {
    ModelConfig c;
    c.backbone = "unet";
    c.vocab_size = 12;
    c.d_model = 16;
    c.n_layer = 2;
    c.stage_pools = {2, 4};
    c.stage_mixers = {"mamba1", "mamba1", "mamba2"};
    const LanguageModel model(c);
    const ModelConfig& r = model.config();
    EXPECT_EQ(r.mixer, "mamba1");
    EXPECT_EQ(r.stage(0).d_state, 16);
    EXPECT_EQ(r.stage(2).d_state, 128);
    EXPECT_EQ(r.stage(1).dt_rank, 2);
    EXPECT_EQ(r.stage(2).d_model, 64);
    EXPECT_EQ(r.stage(2).headdim, 64);
    EXPECT_EQ(r.stage(0).n_layer, 4);
    EXPECT_EQ(model.backbone().stride(), 8);
    const ModelConfig again = model_config_from_json(to_json(r), "config.json");
    EXPECT_EQ(to_json(again), to_json(r));
    EXPECT_EQ(again.stage_mixers, r.stage_mixers);
    EXPECT_EQ(again.stage_pools, r.stage_pools);
}

std::string error_of(const std::function<void(ModelConfig&)>& change) {
    ModelConfig c;
    c.backbone = "unet";
    c.vocab_size = 12;
    change(c);
    try {
        c.resolve();
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}

TEST(UNet, lists_that_do_not_fit_are_errors) {
    using testing::HasSubstr;
    EXPECT_THAT(error_of([](ModelConfig& c) { c.expand_width = {2, 2, 2}; }), HasSubstr("3 numbers for 2 pools"));
    EXPECT_THAT(error_of([](ModelConfig& c) { c.stage_mixers = {"mamba1"}; }), HasSubstr("1 mixers for 3 stages"));
    EXPECT_THAT(error_of([](ModelConfig& c) { c.stage_mixers = {"mamba1", "mamba9", "mamba1"}; }), HasSubstr("mamba9"));
    EXPECT_THAT(error_of([](ModelConfig& c) { c.stage_pools = {1}; }), HasSubstr("stage_pools: 1 is outside 2 to"));
    EXPECT_THAT(error_of([](ModelConfig& c) { c.backbone = "flat", c.stage_pools = {4}; }),
                HasSubstr("belongs to backbone unet"));
    EXPECT_EQ(error_of([](ModelConfig&) {}), "");
}

}  // namespace
}  // namespace adder
