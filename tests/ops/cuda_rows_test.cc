// What the row-wise ops promise on a GPU beyond the reference: arrays that are replaced in place, faults, and gradients in
// the storage type.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "core/error.h"
#include "tests/io/scratch.h"
#include "kernels/common/op_check.h"
#include "kernels/common/op_instance.h"
#include "kernels/conv1d/conv1d_cases.h"
#include "kernels/cross_entropy/cross_entropy_cases.h"
#include "kernels/embedding/embedding_cases.h"
#include "kernels/gated_norm/gated_norm_cases.h"

namespace adder {
namespace {

class CudaRows : public testing::TestWithParam<DType> {
  protected:
    void SetUp() override {
        if (const std::string problem = gpu_problem(); !problem.empty()) GTEST_SKIP() << "skipped: no GPU: " << problem;
        gpu_ = std::make_unique<Gpu>();
        on_ = {.storage = GetParam(), .device = Device::cuda, .gpu = gpu_.get()};
    }
    Instance run_of(const OpCase& c) const { return {c, make_inputs(c, on_.storage), on_}; }

    std::unique_ptr<Gpu> gpu_;
    RunOn on_;
    ThreadPool pool_{1};
};

TEST_P(CudaRows, halo_may_be_handed_on_in_place) {
    for (const int64_t L : {1, 2, 3, 7, 8, 9, 100}) {
        OpCase c = op_case<Conv1dProblem>({kTest, 2, L, 24, 4, true, true, true, true});
        Instance apart = run_of(c);
        apart.forward(pool_);
        c.forward = [](Ctx& ctx, TensorBag& a) {
            conv1d_forward(ctx, {a["x"], a["weight"], a["bias"], a["start"], a["halo"]}, a["y"], a["halo"]);
        };
        Instance in_place = run_of(c);
        in_place.forward(pool_);
        EXPECT_EQ(in_place.bytes("y"), apart.bytes("y")) << L;
        EXPECT_EQ(in_place.bytes("halo"), apart.bytes("halo_out")) << L;
    }
}

TEST_P(CudaRows, every_placement_of_starts_equals_the_reference) {
    for (const int64_t K : {3, 4, 5})
        for (const int64_t L : {1, 2, 4, 5, 40}) {
            const OpCase c = op_case<Conv1dProblem>({kTest, 1, L, 8, K, true, true, true, true});
            const uint64_t patterns = L == 40 ? 40 : uint64_t{1} << L;
            for (uint64_t i = 0; i < patterns; ++i) {
                const uint64_t pattern = L == 40 ? uint64_t{1} << i : i;
                Bag<double> numbers = make_inputs(c, on_.storage);
                std::vector<double> starts;
                for (int64_t t = 0; t < L; ++t) starts.push_back(static_cast<double>(pattern >> t & 1));
                Tensor start(DType::u8, {1, L});
                set_values(start, starts);
                numbers.put_raw("start", std::move(start));
                Instance run(c, numbers, on_), exact(c, numbers, DType::f64);
                run.forward(pool_), run.backward(pool_);
                exact.forward(pool_), exact.backward(pool_);
                for (const char* name : {"y", "halo_out", "d_x", "d_weight", "d_bias", "d_halo_out"})
                    ASSERT_LT(errors_of(run.values(name), exact.values(name)).rms, on_.storage == DType::f32 ? 1e-6 : 6e-3)
                        << c.title() << ", starts " << pattern << ": " << name;
            }
        }
}

TEST_P(CudaRows, gated_norm_may_replace_its_input_and_its_gradient) {
    for (const int64_t D : {37, 64, 1040}) {
        OpCase c = op_case<GatedNormProblem>({kTest, 2, 9, D, 1});
        Instance apart = run_of(c);
        apart.forward(pool_), apart.backward(pool_);
        c.forward = [](Ctx& ctx, TensorBag& a) { gated_norm_forward(ctx, {a["x"], a["z"], a["weight"]}, a["x"]); };
        c.backward = [](Ctx& ctx, TensorBag& a) {
            gated_norm_backward(ctx, {a["x"], a["z"], a["weight"]}, a["d_y"], a["d_y"], a["d_z"], a["d_weight"]);
        };
        Instance in_place = run_of(c);
        in_place.backward(pool_);
        in_place.forward(pool_);
        EXPECT_EQ(in_place.bytes("x"), apart.bytes("y")) << D;
        EXPECT_EQ(in_place.bytes("d_y"), apart.bytes("d_x")) << D;
        for (const char* name : {"d_z", "d_weight"}) EXPECT_EQ(in_place.bytes(name), apart.bytes(name)) << D;
    }
}

TEST_P(CudaRows, id_past_the_table_is_a_fault_and_a_row_of_zeros) {
    const OpCase c = op_case<EmbeddingProblem>({kTest, 2, 200, 7, 16});
    Instance run = run_of(c);
    std::vector<double> ids = run.values("ids");
    ids[200 + 150] = 9;
    run.set("ids", ids);
    EXPECT_THAT(error_of([&] {
                    run.forward(pool_);
                    gpu_->synchronize();
                }),
                testing::HasSubstr("9 is outside the vocabulary, in row 1 at position 150"));
    const std::vector<double> y = run.values("y");
    for (size_t m = 0; m < 16; ++m) EXPECT_EQ(y[350 * 16 + m], 0);
    run.backward(pool_);
    gpu_->synchronize();
    for (double g : run.values("d_weight")) EXPECT_FALSE(std::isnan(g));
}

OpCase loss_case(int64_t V) { return op_case<CrossEntropyProblem>({kTest, 3, 70, V}); }

TEST_P(CudaRows, gradient_may_replace_the_logits_or_be_narrow) {
    for (const int64_t V : {4, 5, 40, 1030}) {
        OpCase c = loss_case(V);
        Instance apart = run_of(c);
        apart.backward(pool_);
        Tensor narrow(DType::bf16, {3, 70, V}, Device::cuda);
        c.backward = [&](Ctx& ctx, TensorBag& a) {
            TensorRef to = narrow;
            if (ctx.dry_run) to.data = nullptr;
            cross_entropy(ctx, CrossEntropyProblem::args({kTest, 3, 70, V}, a), {a["sums"], {}, to});
        };
        Instance run = run_of(c);
        run.backward(pool_);
        EXPECT_EQ(run.bytes("sums"), apart.bytes("sums"));
        Tensor host(DType::bf16, {3, 70, V});
        copy(narrow.ref(), host.ref());
        const std::vector<double> got = values_of(host), want = apart.values("d_logits");
        for (size_t i = 0; i < want.size(); ++i) ASSERT_EQ(got[i], rounded_to(DType::bf16, want[i])) << V << " " << i;
        c.backward = [&](Ctx& ctx, TensorBag& a) {
            cross_entropy(ctx, CrossEntropyProblem::args({kTest, 3, 70, V}, a), {a["sums"], {}, a["logits"]});
        };
        Instance in_place = run_of(c);
        in_place.backward(pool_);
        EXPECT_EQ(in_place.bytes("logits"), apart.bytes("d_logits")) << V;
    }
}

TEST_P(CudaRows, loss_sums_may_be_added_to) {
    OpCase c = loss_case(16);
    Instance once = run_of(c);
    once.forward(pool_);
    c.forward = [](Ctx& ctx, TensorBag& a) {
        for (const bool add : {false, true})
            cross_entropy(ctx, CrossEntropyProblem::args({kTest, 3, 70, 16}, a), {a["sums"], {}, {}, add});
    };
    Instance twice = run_of(c);
    twice.forward(pool_);
    for (size_t i = 0; i < 2; ++i) EXPECT_EQ(twice.values("sums")[i], 2 * once.values("sums")[i]);
}

// Neither their logits nor their target matter.
TEST_P(CudaRows, tokens_of_weight_zero_contribute_nothing) {
    for (const int64_t V : {16, 100, 1500}) {
        const OpCase c = loss_case(V);
        Instance run = run_of(c);
        std::vector<double> weights = run.values("weights"), targets = run.values("targets"), logits = run.values("logits");
        weights[5] = 0, targets[5] = 65535;
        for (size_t v = 0; v < static_cast<size_t>(V); ++v) logits[5 * static_cast<size_t>(V) + v] = std::nan("");
        run.set("weights", weights), run.set("targets", targets), run.set("logits", logits);
        run.forward(pool_), run.backward(pool_);
        gpu_->synchronize();
        EXPECT_EQ(run.values("nats")[5], 0);
        EXPECT_FALSE(std::isnan(run.values("sums")[0]));
        const std::vector<double> gradient = run.values("d_logits");
        for (size_t v = 0; v < static_cast<size_t>(V); ++v) EXPECT_EQ(gradient[5 * static_cast<size_t>(V) + v], 0);
    }
}

TEST_P(CudaRows, target_outside_the_vocabulary_is_a_fault) {
    for (const int64_t V : {16, 100, 1500}) {
        Instance run = run_of(loss_case(V));
        std::vector<double> targets = run.values("targets");
        targets[70 + 3] = static_cast<double>(V);
        run.set("targets", targets);
        EXPECT_THAT(error_of([&] {
                        run.forward(pool_);
                        gpu_->synchronize();
                    }),
                    testing::HasSubstr(fmt::format("{} is outside the vocabulary where the weight is not 0, in row 1 at "
                                                   "position 3",
                                                   V)));
    }
}

INSTANTIATE_TEST_SUITE_P(, CudaRows, testing::Values(DType::f32, DType::bf16),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace
}  // namespace adder
