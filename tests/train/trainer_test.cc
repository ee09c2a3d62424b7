#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/model/toy.h"

namespace adder {
namespace {

// Starts where every model may have them.
void fill(int64_t step, int64_t micro, Batch& batch) {
    const Batch made = toy_batch(batch.B, batch.L, {0, 12}, static_cast<uint64_t>(100 * step + micro), 6);
    copy(made.ids, batch.ids);
    copy(made.targets, batch.targets);
    copy(made.weights, batch.weights);
    copy(made.start, batch.start);
}

struct ToyTrainer {
    ToyTrainer(const std::string& mixer, const TileOptions& tiles, int threads = 1, int64_t d_model = 8)
        : toy(mixer, DType::f32, d_model), pool(threads),
          trainer(toy.model, toy.params, {}, {.pool = &pool}, plan_training(toy.model, {}, tiles)) {}
    ToyModel toy;
    ThreadPool pool;
    Trainer trainer;
};

class TrainerOfEveryModel : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Models, TrainerOfEveryModel, testing::ValuesIn(model_names()));

TEST_P(TrainerOfEveryModel, learns_one_batch_by_heart) {
    ToyTrainer t(GetParam(), {2, 32, 18, 1}, 2, 16);
    const FillBatch same = [](int64_t, int64_t, Batch& batch) { fill(0, 0, batch); };
    double first = 0, last = 0;
    for (int64_t step = 0; step < 300; ++step) {
        const StepResult r = t.trainer.step(step, 1, 1e-2, same);
        last = r.sums.loss / r.sums.weight;
        if (step == 0) first = last;
    }
    EXPECT_GT(first, 1.3);
    EXPECT_LT(last, 0.2);
}

TEST_P(TrainerOfEveryModel, ten_steps_have_the_same_bits_at_any_thread_count) {
    std::vector<double> one;
    for (int threads : {1, 2, 3, 7}) {
        ToyTrainer t(GetParam(), {3, 300, 132, 1}, threads, 24);
        for (int64_t step = 0; step < 10; ++step) t.trainer.step(step, 1, 1e-2, fill);
        if (threads == 1) one = t.toy.values();
        EXPECT_EQ(t.toy.values(), one) << threads;
    }
}

// The classifier's first update is one of a rate for each element: Adam's m / sqrt(v) is 1 there.
TEST_P(TrainerOfEveryModel, a_head_has_a_rate_of_its_own_and_a_frozen_backbone_stays) {
    for (bool freeze : {false, true}) {
        ToyModel toy(ToyModel::classifier(GetParam(), PoolKind::mean), DType::f32, Device::cpu, freeze);
        ThreadPool pool(1);
        OptimizerOptions options;
        options.weight_decay = 0;
        options.clip = 0;
        options.head_rate = 10;
        Trainer trainer(toy.model, toy.params, options, {.pool = &pool}, plan_training(toy.model, {}, {2, 40, toy.tile(16), 1}));
        const std::vector<double> before = toy.values();
        const auto fill_members = [&](int64_t, int64_t, Batch& batch) {
            copy_batch(member_batch(2, 40, {0, 7, 30}, 0, toy.stride()), batch);
        };
        const StepResult r = trainer.step(0, 1, 1e-4, fill_members);
        EXPECT_TRUE(r.updated);
        const std::vector<double> after = toy.values();
        const size_t head = before.size() - (3 * 8 + 3);
        double most = 0;
        for (size_t i = 0; i < head; ++i) most = std::max(most, std::abs(after[i] - before[i]));
        EXPECT_NEAR(most, freeze ? 0 : 1e-4, freeze ? 0 : 1e-6);
        for (size_t i = head; i < before.size(); ++i) EXPECT_NEAR(std::abs(after[i] - before[i]), 1e-3, 2e-5) << i;
        EXPECT_EQ(trainer.optimizer().tensors().size(), freeze ? 2 : toy.params.entries().size());
    }
}

TEST_P(TrainerOfEveryModel, accumulated_micro_batches_equal_one_large_batch) {
    ToyTrainer small(GetParam(), {1, 40, 40, 1}), large(GetParam(), {3, 40, 40, 1});
    const Batch all = toy_batch(3, 40, {0, 12}, 4, 6);
    auto row = [&](int64_t, int64_t micro, Batch& batch) {
        copy(all.ids.ref().slice(0, micro, 1), batch.ids);
        copy(all.targets.ref().slice(0, micro, 1), batch.targets);
        copy(all.weights.ref().slice(0, micro, 1), batch.weights);
        copy(all.start.ref().slice(0, micro, 1), batch.start);
    };
    auto whole = [&](int64_t, int64_t, Batch& batch) {
        copy(all.ids, batch.ids);
        copy(all.targets, batch.targets);
        copy(all.weights, batch.weights);
        copy(all.start, batch.start);
    };
    const StepResult a = small.trainer.step(0, 3, 1e-3, row), b = large.trainer.step(0, 1, 1e-3, whole);
    EXPECT_NEAR(a.sums.loss, b.sums.loss, 1e-5 * b.sums.loss);
    EXPECT_EQ(a.sums.weight, b.sums.weight);
    EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-5 * b.grad_norm);
    EXPECT_LE(relative_rms(small.toy.gradients(), large.toy.gradients()), 1e-5);
}

TEST(Trainer, a_non_finite_gradient_updates_nothing_and_names_the_tensor) {
    ToyTrainer t("mamba2", {1, 20, 20, 1});
    const std::vector<double> before = t.toy.values();
    auto bad = [](int64_t step, int64_t micro, Batch& batch) {
        fill(step, micro, batch);
        batch.weights.ref().ptr<float>("w")[3] = std::numeric_limits<float>::infinity();
    };
    const StepResult r = t.trainer.step(0, 1, 1e-2, bad);
    EXPECT_FALSE(r.updated);
    EXPECT_EQ(r.bad_gradient, "backbone.embedding.weight");
    EXPECT_EQ(t.toy.values(), before);
    EXPECT_EQ(t.trainer.optimizer().updates(), 0);
    EXPECT_TRUE(t.trainer.step(1, 1, 1e-2, fill).updated);
}

TEST(Trainer, a_batch_without_counted_tokens_updates_nothing) {
    ToyTrainer t("mamba1", {1, 20, 20, 1});
    const std::vector<double> before = t.toy.values();
    const StepResult r = t.trainer.step(0, 1, 1e-2, [](int64_t step, int64_t micro, Batch& batch) {
        fill(step, micro, batch);
        batch.weights.zero();
    });
    EXPECT_FALSE(r.updated);
    EXPECT_EQ(r.sums.weight, 0);
    EXPECT_EQ(t.toy.values(), before);
}

TEST(Trainer, the_stop_flag_drops_the_unfinished_step) {
    ToyTrainer t("mamba1", {1, 40, 10, 1});
    const std::vector<double> before = t.toy.values();
    std::atomic<bool> stop{true};
    t.trainer.engine().set_stop_flag(&stop);
    EXPECT_THROW(t.trainer.step(0, 1, 1e-2, fill), Interrupted);
    EXPECT_EQ(t.toy.values(), before);
    stop = false;
    ToyTrainer fresh("mamba1", {1, 40, 10, 1});
    t.trainer.step(0, 1, 1e-2, fill);
    fresh.trainer.step(0, 1, 1e-2, fill);
    EXPECT_EQ(t.toy.values(), fresh.toy.values());
}

TEST(Trainer, length_warm_up_changes_shapes_between_steps) {
    ToyTrainer t("mamba2", {1, 64, 16, 1});
    t.trainer.step(0, 1, 1e-3, fill);
    t.trainer.configure(plan_training(t.toy.model, {}, {4, 16, 16, 1}));
    const StepResult r = t.trainer.step(1, 1, 1e-3, fill);
    EXPECT_TRUE(r.updated);
    EXPECT_GT(r.sums.weight, 30);
}

TEST(Trainer, memory_is_allocated_once_for_the_largest_stage_of_a_length_warm_up) {
    for (const std::string& mixer : model_names()) {
        ThreadPool pool(1);
        ToyModel toy(mixer, DType::f32), other(mixer, DType::f32);
        const Compute compute{.pool = &pool};
        const int64_t L = 64 * toy.stride();
        // The second and the third need more than the first, one of them for its tile, the other for its borders.
        const std::vector<MemoryPlan> plans{plan_training(toy.model, compute, {1, L / 8, toy.tile(4), 1}),
                                            plan_training(toy.model, compute, {2, L / 2, L / 2, 1}),
                                            plan_training(toy.model, compute, {1, L, toy.tile(4), 0})};
        Trainer once(toy.model, toy.params, {}, compute, plans[0], plans);
        const int64_t bytes = once.engine().memory_bytes();
        int64_t most = 0;
        for (const MemoryPlan& p : plans) most = std::max(most, TileEngine(toy.model, compute, p).memory_bytes());
        EXPECT_EQ(bytes, most) << mixer;
        Trainer grows(other.model, other.params, {}, compute, plans[0]);
        EXPECT_LT(grows.engine().memory_bytes(), bytes) << mixer;
        for (size_t i = 0; i < plans.size(); ++i) {
            for (Trainer* t : {&once, &grows}) {
                t->configure(plans[i]);
                EXPECT_TRUE(t->step(static_cast<int64_t>(i), 2, 1e-2, fill).updated);
            }
            EXPECT_EQ(once.engine().memory_bytes(), bytes) << mixer << " stage " << i;
        }
        EXPECT_EQ(grows.engine().memory_bytes(), bytes) << mixer;
        EXPECT_EQ(toy.values(), other.values()) << mixer;
    }
}

}  // namespace
}  // namespace adder
