// The tile engine on a GPU: the promises of tile_engine_test.cc, and that it computes what the CPU computes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "kernels/common/shared_memory.h"
#include "toy.h"

namespace adder {
namespace {

struct GpuRunOptions {
    int64_t T = 0, keep = 1;
    bool graphs = true;
    int times = 1;  // that the batch is run, gradients added up
};

class EngineOnGpu : public testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        if (const std::string problem = gpu_problem(); !problem.empty()) GTEST_SKIP() << "skipped: no GPU: " << problem;
        gpu_ = std::make_unique<Gpu>();
    }
    ToyModel toy(DType storage, int64_t d_model = 8) const {
        return {GetParam(), storage, d_model, 2, Discretization::euler, Device::cuda};
    }
    ToyRun run(ToyModel& toy, const Batch& batch, const GpuRunOptions& o) const {
        const Compute compute{Device::cuda, toy.storage, nullptr, gpu_.get()};
        const MemoryPlan plan = plan_training(toy.model, compute, {batch.B, batch.L, o.T, o.keep});
        TileEngine engine(toy.model, compute, plan);
        engine.set_verify(true);
        engine.set_graphs(o.graphs);
        Arena scratch(Device::cuda, "scratch");
        toy.params.zero_gradients(compute.context(scratch));
        const Tensor sums(DType::f64, {2}, Device::cuda);
        const PackedCopy packed(batch, {toy.model.vocab(), toy.model.targets()}, Device::cuda);
        for (int i = 0; i < o.times; ++i) engine.forward_backward(packed.at, sums);
        gpu_->synchronize();
        ToyRun run;
        const HostCopy host(sums);
        run.sums = {host.ref().ptr<double>("sums")[0], host.ref().ptr<double>("sums")[1]};
        run.gradients = toy.gradients();
        return run;
    }

    std::unique_ptr<Gpu> gpu_;
};
INSTANTIATE_TEST_SUITE_P(CudaModels, EngineOnGpu, testing::ValuesIn(model_names()));

TEST_P(EngineOnGpu, equals_the_cpu) {
    ToyModel here(GetParam(), DType::f32);
    ToyModel there = toy(DType::f32), narrow = toy(DType::bf16);
    EXPECT_EQ(there.values(), here.values());
    EXPECT_EQ(narrow.values(), here.values());
    const Batch batch = next_token_batch(2, 75, {0, 33, 34}, 1, here.stride());
    const ToyRun a = run_tiles(here, batch, 75, 1), b = run(there, batch, {75}), c = run(narrow, batch, {75});
    EXPECT_LE(relative_rms(b.gradients, a.gradients), 1e-5);
    EXPECT_NEAR(b.sums.loss, a.sums.loss, 1e-6 * a.sums.loss);
    EXPECT_EQ(b.sums.weight, a.sums.weight);
    // A model of eight channels averages little of the rounding away, and less the deeper it is: the U-Net has five blocks in
    // a row, a flat model of as many 0.16.
    EXPECT_LE(relative_rms(c.gradients, a.gradients), here.stride() > 1 ? 0.16 : 4e-2);
    EXPECT_NEAR(c.sums.loss, a.sums.loss, 2e-2 * a.sums.loss);
    EXPECT_EQ(c.sums.weight, a.sums.weight);
}

TEST_P(EngineOnGpu, tiled_equals_untiled) {
    for (DType dtype : {DType::f32, DType::bf16}) {
        ToyModel model = toy(dtype), exact(GetParam(), DType::f64);
        const int64_t L = 23;
        for (const std::vector<int64_t>& starts :
             {std::vector<int64_t>{0}, {0, 1, 2, 9, 10, 21, 22}, {0, 6, 13}}) {
            const Batch batch = next_token_batch(3, L, starts, 1, model.stride());
            const ToyRun whole = run(model, batch, {L});
            const ToyRun truth = run_tiles(exact, batch, L, 1);
            const double error = relative_rms(whole.gradients, truth.gradients);
            for (int64_t T : {1, 2, 3, 7, 16, 22}) {
                T = model.tile(T);
                const ToyRun tiled = run(model, batch, {T});
                const double tolerance = dtype == DType::f32 ? 1e-5 : 2e-2;
                EXPECT_LE(relative_rms(tiled.gradients, whole.gradients), tolerance) << name_of(dtype) << " T=" << T;
                // Cutting costs no more than rounding did.
                if (dtype == DType::bf16) {
                    EXPECT_LE(relative_rms(tiled.gradients, truth.gradients), 1.2 * error) << " T=" << T;
                }
                EXPECT_NEAR(tiled.sums.loss, whole.sums.loss, tolerance * whole.sums.loss);
                EXPECT_EQ(tiled.sums.weight, whole.sums.weight);
            }
        }
    }
}

class EngineOnGpuSlow : public EngineOnGpu {};
INSTANTIATE_TEST_SUITE_P(CudaModels, EngineOnGpuSlow, testing::Values("mamba1", "mamba2"));

TEST_P(EngineOnGpuSlow, tiled_equals_untiled_at_two_to_the_eighteen) {
    const int64_t L = 1 << 18;
    const Batch batch = next_token_batch(1, L, {0, 100'001});
    for (DType dtype : {DType::f32, DType::bf16}) {
        ToyModel model = toy(dtype, 64);
        const ToyRun whole = run(model, batch, {L});
        const double tolerance = dtype == DType::f32 ? 1e-5 : 2e-2;
        for (int64_t T : {1 << 14, 40'000, 1 << 17}) {
            const ToyRun tiled = run(model, batch, {T, 1});
            const double rms = relative_rms(tiled.gradients, whole.gradients);
            EXPECT_LE(rms, tolerance) << name_of(dtype) << " T=" << T;
            EXPECT_NEAR(tiled.sums.loss, whole.sums.loss, tolerance * whole.sums.loss);
            EXPECT_EQ(tiled.sums.weight, whole.sums.weight);
            std::printf("  %s T=%lld: relative rms %.2e\n", name_of(dtype), static_cast<long long>(T), rms);
        }
    }
}

TEST_P(EngineOnGpu, packed_members_equal_separate_sequences) {
    ToyModel model = toy(DType::f32);
    const int64_t s = model.stride(), L = 30 * s + 1;
    const std::vector<int64_t> starts{0, s, 4 * s, 20 * s};
    const Batch packed = next_token_batch(1, L, starts);
    const ToyRun together = run(model, packed, {7 * s});
    LossSums sums;
    std::vector<double> gradients(together.gradients.size());
    for (size_t m = 0; m < starts.size(); ++m) {
        const int64_t begin = starts[m], n = (m + 1 < starts.size() ? starts[m + 1] : L) - begin;
        Batch alone(1, n);
        copy(packed.ids.ref().slice(1, begin, n), alone.ids);
        copy(packed.targets.ref().slice(1, begin, n), alone.targets);
        copy(packed.weights.ref().slice(1, begin, n), alone.weights);
        const ToyRun one = run(model, alone, {n});
        sums.loss += one.sums.loss;
        sums.weight += one.sums.weight;
        for (size_t i = 0; i < gradients.size(); ++i) gradients[i] += one.gradients[i];
    }
    EXPECT_NEAR(sums.loss, together.sums.loss, 1e-6 * sums.loss);
    EXPECT_EQ(sums.weight, together.sums.weight);
    EXPECT_LE(relative_rms(gradients, together.gradients), 1e-5);
}

TEST_P(EngineOnGpu, keep_graphs_and_repetition_change_no_bit) {
    for (DType dtype : {DType::f32, DType::bf16}) {
        ToyModel model = toy(dtype);
        const Batch batch = next_token_batch(2, 75, {0, 17, 50}, 1, model.stride());
        const ToyRun none = run(model, batch, {model.tile(16), 0, false, 3});
        for (int64_t keep : {0, 1, 2, 99}) {
            const ToyRun with = run(model, batch, {model.tile(16), keep, true, 3});
            EXPECT_EQ(with.gradients, none.gradients) << name_of(dtype) << " keep " << keep;
            EXPECT_EQ(with.sums.loss, none.sums.loss);
        }
        const ToyRun whole = run(model, batch, {75, 1, false, 3}), recorded = run(model, batch, {75, 1, true, 3});
        EXPECT_EQ(recorded.gradients, whole.gradients) << name_of(dtype);
    }
}

TEST_P(EngineOnGpu, a_classifier_equals_the_cpu_and_its_tiles) {
    for (PoolKind pool : kPoolKinds) {
        const ModelConfig config = ToyModel::classifier(GetParam(), pool);
        ToyModel here(config, DType::f32), there(config, DType::f32, Device::cuda);
        const Batch batch = member_batch(2, 75, {0, 33, 34, 60}, 9, here.stride());
        const ToyRun a = run_tiles(here, batch, 75, 1), b = run(there, batch, {75});
        EXPECT_LE(relative_rms(b.gradients, a.gradients), 1e-5) << name_of(pool);
        EXPECT_NEAR(b.sums.loss, a.sums.loss, 1e-6 * a.sums.loss);
        EXPECT_EQ(b.sums.weight, a.sums.weight);
        for (int64_t T : {1, 7, 32, 64}) {
            const ToyRun tiled = run(there, batch, {there.tile(T)});
            EXPECT_LE(relative_rms(tiled.gradients, b.gradients), 1e-5) << name_of(pool) << " T=" << T;
        }
        const int64_t short_tile = there.tile(16);
        const ToyRun none = run(there, batch, {short_tile, 0, false, 3});
        for (int64_t keep : {0, 2, 99})
            EXPECT_EQ(run(there, batch, {short_tile, keep, true, 3}).gradients, none.gradients) << name_of(pool) << keep;
        ToyModel head(config, DType::f32, Device::cuda, true);
        for (int64_t T : {short_tile, int64_t{75}}) {
            const ToyRun frozen = run(head, batch, {T, 1, true, 3}), whole = run(there, batch, {T, 1, false, 3});
            const size_t n = 3 * 8 + 3, before = frozen.gradients.size() - n;  // the head's come last
            std::vector<double> of_head(whole.gradients.begin() + static_cast<int64_t>(before), whole.gradients.end());
            std::vector<double> alone(frozen.gradients.begin() + static_cast<int64_t>(before), frozen.gradients.end());
            EXPECT_LE(relative_rms(alone, of_head), 1e-5) << name_of(pool) << " T=" << T;
        }
    }
}

TEST_P(EngineOnGpu, columns_that_are_not_filled_are_not_computed) {
    ToyModel model(ToyModel::classifier(GetParam(), PoolKind::mean), DType::f32, Device::cuda);
    Batch batch = member_batch(1, 60, {0, 5, 11}, 42, model.stride());
    const int64_t T = model.tile(8);
    const ToyRun whole = run(model, batch, {T, 2, true, 3});
    batch.filled = 18;
    const ToyRun part = run(model, batch, {T, 2, true, 3});
    EXPECT_LE(relative_rms(part.gradients, whole.gradients), 1e-6);
    EXPECT_EQ(part.sums.weight, whole.sums.weight);
}

// Where a block may have 99 KiB of shared memory other kernels scan and other states are kept. Heads of whole tiles.
TEST_P(EngineOnGpu, with_little_shared_memory_equals_the_cpu_and_itself_with_much) {
    ModelConfig config = ToyModel::config(GetParam(), 16, 2, Discretization::euler);
    config.headdim = config.d_state = 16;
    config.ngroups = 1;
    ToyModel here(config, DType::f32), there(config, DType::f32, Device::cuda), narrow(config, DType::bf16, Device::cuda);
    const Batch batch = next_token_batch(2, 75, {0, 33, 34}, 1, here.stride());
    const ToyRun a = run_tiles(here, batch, 75, 1), much = run(narrow, batch, {75});
    const cuda::LowerSharedBytes lowered(99 * 1024);
    for (const int64_t T : {int64_t{75}, there.tile(16)}) {
        const ToyRun b = run(there, batch, {T}), little = run(narrow, batch, {T});
        EXPECT_LE(relative_rms(b.gradients, a.gradients), here.stride() > 1 ? 2e-5 : 1e-5) << "T=" << T;
        EXPECT_NEAR(b.sums.loss, a.sums.loss, 1e-6 * a.sums.loss);
        EXPECT_LE(relative_rms(little.gradients, much.gradients), 4e-2) << "T=" << T;
        EXPECT_NEAR(little.sums.loss, much.sums.loss, 2e-2 * much.sums.loss);
        EXPECT_EQ(little.sums.weight, a.sums.weight);
        std::printf("  T=%lld: relative rms %.2e in f32, %.2e in bf16\n", static_cast<long long>(T),
                    relative_rms(b.gradients, a.gradients), relative_rms(little.gradients, much.gradients));
    }
}

TEST(CudaPlan, a_plan_that_is_too_large_is_an_error_that_says_what_fits) {
    if (const std::string problem = gpu_problem(); !problem.empty()) GTEST_SKIP() << "skipped: no GPU: " << problem;
    Gpu gpu;
    const Compute compute{Device::cuda, DType::bf16, nullptr, &gpu};
    ToyModel toy("mamba2", DType::bf16, 64, 2, Discretization::euler, Device::cuda);
    int64_t L = 1 << 20;
    while (plan_training(toy.model, compute, {1, L, L, 1}).total_bytes() < gpu_free_bytes()) L *= 2;
    try {
        TileEngine engine(toy.model, compute, plan_training(toy.model, compute, {1, L, L, 1}));
        FAIL();
    } catch (const Error& e) {
        EXPECT_THAT(std::string(e.what()), testing::HasSubstr("out of GPU memory: "));
        EXPECT_THAT(std::string(e.what()), testing::HasSubstr("a length of "));
    }
}

}  // namespace
}  // namespace adder
