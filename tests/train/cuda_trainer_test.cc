// Training on a GPU: the promises of trainer_test.cc and loop_test.cc, and that it learns what the CPU learns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "io/file.h"
#include "tests/io/scratch.h"
#include "tests/model/toy.h"
#include "train/loop.h"

namespace adder {
namespace {

namespace fs = std::filesystem;

void fill(int64_t step, int64_t micro, Batch& batch) {
    copy_batch(next_token_batch(batch.B, batch.L, {0, 12}, static_cast<uint64_t>(100 * step + micro), 6), batch);
}

// A trainer on the CPU or, given a GPU, there.
struct AnyTrainer {
    AnyTrainer(Gpu* gpu, const std::string& mixer, DType storage, const TileOptions& tiles)
        : compute{gpu ? Device::cuda : Device::cpu, storage, &pool, gpu},
          toy(mixer, storage, 8, 2, Discretization::euler, compute.device),
          trainer(toy.model, toy.params, {}, compute, plan_training(toy.model, compute, tiles)) {}
    ThreadPool pool{1};
    Compute compute;
    ToyModel toy;
    Trainer trainer;
};

class OnGpu : public testing::Test {
  protected:
    void SetUp() override {
        if (const std::string problem = gpu_problem(); !problem.empty()) GTEST_SKIP() << "skipped: no GPU: " << problem;
        gpu = std::make_unique<Gpu>();
    }
    // Losses of both, step by step; the GPU's are collected one step late.
    void expect_same_losses(const std::string& mixer, int64_t steps, double tolerance) const {
        AnyTrainer here(nullptr, mixer, DType::f32, {2, 40, 18, 1}), there(gpu.get(), mixer, DType::f32, {2, 40, 18, 1});
        for (int64_t step = 0; step < steps; ++step) {
            there.trainer.submit(step, 2, 1e-3, fill);
            if (step == 0) continue;
            const StepResult a = here.trainer.step(step - 1, 2, 1e-3, fill), b = there.trainer.collect();
            ASSERT_NEAR(b.sums.loss, a.sums.loss, tolerance * a.sums.loss) << mixer << " step " << step;
            EXPECT_EQ(b.sums.weight, a.sums.weight);
            EXPECT_NEAR(b.grad_norm, a.grad_norm, tolerance * a.grad_norm);
        }
    }
    std::unique_ptr<Gpu> gpu;
};
using CudaTrainer = OnGpu;
using CudaTrainerSlow = OnGpu;
using CudaLoop = OnGpu;

TEST_F(CudaTrainer, learns_what_the_cpu_learns) {
    for (const std::string& mixer : model_names()) expect_same_losses(mixer, 20, 1e-3);
}

TEST_F(CudaTrainerSlow, learns_what_the_cpu_learns_over_two_hundred_steps) {
    for (const std::string& mixer : model_names()) expect_same_losses(mixer, 200, 1e-3);
}

TEST_F(CudaTrainer, submitting_ahead_and_length_warm_up_change_no_bit) {
    for (DType storage : {DType::f32, DType::bf16}) {
        AnyTrainer one(gpu.get(), "mamba2", storage, {2, 24, 24, 1}), ahead(gpu.get(), "mamba2", storage, {2, 24, 24, 1});
        for (int64_t step = 0; step < 4; ++step) {
            one.trainer.step(step, 2, 1e-2, fill);
            ahead.trainer.submit(step, 2, 1e-2, fill);
            if (ahead.trainer.pending() == Trainer::kMostPending) ahead.trainer.collect();
        }
        while (ahead.trainer.pending() > 0) ahead.trainer.collect();
        EXPECT_EQ(ahead.toy.values(), one.toy.values());
        for (AnyTrainer* t : {&one, &ahead}) {
            t->trainer.configure(plan_training(t->toy.model, t->compute, {1, 48, 16, 1}));
            EXPECT_TRUE(t->trainer.step(4, 1, 1e-2, fill).updated);
        }
        EXPECT_EQ(ahead.toy.values(), one.toy.values());
    }
}

TEST_F(CudaTrainer, a_non_finite_gradient_updates_nothing_and_names_the_tensor) {
    AnyTrainer t(gpu.get(), "mamba2", DType::f32, {1, 20, 20, 1});
    const std::vector<double> before = t.toy.values();
    const StepResult r = t.trainer.step(0, 1, 1e-2, [](int64_t step, int64_t micro, Batch& batch) {
        fill(step, micro, batch);
        batch.weights.ref().ptr<float>("w")[3] = std::numeric_limits<float>::infinity();
    });
    EXPECT_FALSE(r.updated);
    EXPECT_EQ(r.bad_gradient, "backbone.embedding.weight");
    EXPECT_EQ(t.toy.values(), before);
    EXPECT_EQ(t.trainer.optimizer().updates(), 0);
    EXPECT_TRUE(t.trainer.step(9, 1, 1e-2, fill).updated);
    EXPECT_EQ(t.trainer.optimizer().updates(), 1);
}

TEST_F(CudaTrainer, a_batch_without_counted_tokens_updates_nothing) {
    AnyTrainer t(gpu.get(), "mamba1", DType::f32, {1, 20, 20, 1});
    const std::vector<double> before = t.toy.values();
    const StepResult r = t.trainer.step(0, 1, 1e-2, [](int64_t step, int64_t micro, Batch& batch) {
        fill(step, micro, batch);
        batch.weights.zero();
    });
    EXPECT_FALSE(r.updated);
    EXPECT_EQ(r.sums.weight, 0);
    EXPECT_EQ(t.toy.values(), before);
}

TEST_F(CudaTrainer, the_stop_flag_drops_the_unfinished_step) {
    AnyTrainer t(gpu.get(), "mamba1", DType::f32, {1, 40, 10, 1}), fresh(gpu.get(), "mamba1", DType::f32, {1, 40, 10, 1});
    std::atomic<bool> stop{false};
    t.trainer.engine().set_stop_flag(&stop);
    t.trainer.submit(0, 1, 1e-2, fill);
    const FillBatch stopping = [&](int64_t step, int64_t micro, Batch& batch) {
        fill(step, micro, batch);
        stop = true;
    };
    EXPECT_THROW(t.trainer.submit(7, 2, 1e-2, stopping), Interrupted);
    EXPECT_EQ(t.trainer.pending(), 1);
    EXPECT_TRUE(t.trainer.collect().updated);
    stop = false;
    t.trainer.step(1, 1, 1e-2, fill);
    for (int64_t step = 0; step < 2; ++step) fresh.trainer.step(step, 1, 1e-2, fill);
    EXPECT_EQ(t.toy.values(), fresh.toy.values());
}

// A run on random batches, as loop_test.cc has it.
struct AnyLoop {
    AnyLoop(Gpu* gpu, DType storage, const std::string& folder, bool resume)
        : t(gpu, "mamba2", storage, {2, 24, 8, 1}), plan(plan_training(t.toy.model, t.compute, {2, 24, 8, 1})) {
        fs::create_directories(folder);
        options.steps = 6;
        options.eval_every = 3;
        options.folder = folder;
        options.run = {{"options", {{"steps", 6}}}, {"data", nlohmann::json::object()}};
        hooks.lr = [](int64_t) { return 1e-2; };
        hooks.plan = [this](int64_t) -> const MemoryPlan& { return plan; };
        hooks.fill = fill;
        hooks.evaluate = [this](bool) {
            evaluated.push_back(state.step);
            return HeldOut{{7, 7}, {7, 7}};
        };
        hooks.on_step = [this](const StepRow& r) { losses.push_back(r.loss); };
        hooks.on_valid = [](const ValidRow&) {};
        hooks.on_word = [this](const std::string& word) { words.push_back(word); };
        if (!resume) return;
        const std::string from = find_checkpoint(folder, false);
        load_parameters(from, t.toy.model, t.toy.params);
        state = load_trainer(from, t.toy.params, t.trainer.optimizer());
    }
    LoopEnd run() { return run_training(t.toy.model, t.toy.params, t.trainer, state, options, hooks); }

    AnyTrainer t;
    MemoryPlan plan;
    TrainerState state;
    LoopOptions options;
    LoopHooks hooks;
    std::vector<double> losses;
    std::vector<int64_t> evaluated;
    std::vector<std::string> words;
};

std::string file_of(const std::string& folder, const char* name) {
    return read_file(find_checkpoint(folder, false) + "/" + name);
}

TEST_F(CudaLoop, resume_is_bit_exact_wherever_it_stopped) {
    Scratch scratch;
    for (DType storage : {DType::f32, DType::bf16}) {
        const std::string kind = name_of(storage);
        AnyLoop whole(gpu.get(), storage, scratch.path(kind + "whole"), false);
        EXPECT_EQ(whole.run(), LoopEnd::finished);
        EXPECT_EQ(whole.losses.size(), 6u);
        EXPECT_THAT(whole.evaluated, testing::ElementsAre(3, 6));
        for (int64_t stop : {1, 4}) {
            const std::string folder = scratch.path(kind + std::to_string(stop));
            AnyLoop first(gpu.get(), storage, folder, false);
            first.options.stop_after = stop;
            EXPECT_EQ(first.run(), LoopEnd::stopped);
            EXPECT_EQ(first.state.step, stop);
            AnyLoop second(gpu.get(), storage, folder, true);
            EXPECT_EQ(second.run(), LoopEnd::finished);
            for (const char* name : {"model.safetensors", "trainer.safetensors"})
                EXPECT_EQ(file_of(folder, name), file_of(scratch.path(kind + "whole"), name)) << kind << stop << name;
            first.losses.insert(first.losses.end(), second.losses.begin(), second.losses.end());
            EXPECT_EQ(first.losses, whole.losses);
        }
    }
}

TEST_F(CudaLoop, without_held_out_data_the_last_step_is_reported_and_saved_too) {
    Scratch scratch;
    AnyLoop loop(gpu.get(), DType::f32, scratch.path("run"), false);
    loop.hooks.evaluate = {};
    EXPECT_EQ(loop.run(), LoopEnd::finished);
    EXPECT_EQ(loop.losses.size(), 6u);
    EXPECT_EQ(load_trainer_state(find_checkpoint(scratch.path("run"), false)).step, 6);
}

TEST_F(CudaLoop, no_batch_is_made_ahead_for_a_step_of_another_length_or_behind_the_last) {
    Scratch scratch;
    AnyLoop loop(gpu.get(), DType::f32, scratch.path("run"), false);
    const MemoryPlan longer = plan_training(loop.t.toy.model, loop.t.compute, {1, 48, 8, 1});
    const auto plan_of = [&](int64_t step) -> const MemoryPlan& { return step < 2 ? loop.plan : longer; };
    loop.hooks.plan = plan_of;
    loop.hooks.fill = [&](int64_t step, int64_t micro, Batch& batch) {
        EXPECT_LT(step, 6);
        EXPECT_EQ(batch.L, plan_of(step).tiles.L) << step;
        fill(step, micro, batch);
    };
    EXPECT_EQ(loop.run(), LoopEnd::finished);
    EXPECT_EQ(loop.losses.size(), 6u);
}

TEST_F(CudaLoop, a_checkpoint_moves_between_devices) {
    Scratch scratch;
    const std::string folder = scratch.path("run");
    AnyLoop there(gpu.get(), DType::bf16, folder, false);
    there.options.stop_after = 2;
    there.run();
    AnyLoop here(nullptr, DType::f32, folder, true);
    EXPECT_EQ(here.t.toy.values(), there.t.toy.values());
    EXPECT_EQ(here.t.trainer.optimizer().updates(), 2);
    here.options.stop_after = 4;
    EXPECT_EQ(here.run(), LoopEnd::stopped);
    AnyLoop back(gpu.get(), DType::f32, folder, true);
    EXPECT_EQ(back.t.toy.values(), here.t.toy.values());
    EXPECT_EQ(back.t.trainer.optimizer().updates(), 4);
    EXPECT_EQ(back.run(), LoopEnd::finished);
}

TEST_F(CudaLoop, three_non_finite_gradients_in_a_row_stop_the_run_with_the_last_good_checkpoint) {
    Scratch scratch;
    AnyLoop loop(gpu.get(), DType::f32, scratch.path("run"), false);
    loop.options.save_every = 2;
    loop.options.eval_every = 0;
    loop.hooks.fill = [](int64_t step, int64_t micro, Batch& batch) {
        fill(step, micro, batch);
        if (step >= 2) batch.weights.ref().ptr<float>("w")[3] = std::numeric_limits<float>::infinity();
    };
    std::string what;
    try {
        loop.run();
    } catch (const Error& e) {
        what = e.what();
    }
    EXPECT_THAT(what, testing::HasSubstr("step 5: three steps in a row"));
    EXPECT_EQ(find_checkpoint(scratch.path("run"), false), scratch.path("run/step-00000002"));
}

}  // namespace
}  // namespace adder
