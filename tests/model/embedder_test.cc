// What the blocks of a backbone show of themselves.
#include "model/embedder.h"

#include <gtest/gtest.h>

#include "toy.h"

namespace adder {
namespace {

constexpr int64_t kWidth = 8, kBlocks = 3;

// All outputs, one after the other, by tiles of T tokens of each row.
std::vector<std::vector<double>> outputs_of(ToyModel& toy, const Compute& compute, const Batch& batch,
                                            int64_t T, const EmbedderOutputs& outputs) {
    std::vector<std::vector<double>> all(
        static_cast<size_t>(outputs.count()),
        std::vector<double>(static_cast<size_t>(batch.B * batch.L * kWidth)));
    Embedder embedder(toy.model, compute, batch.B, batch.B * T, outputs,
                      [&](int64_t tile, int64_t index, const TensorRef& v) {
                          for (int64_t b = 0; b < v.size(0); ++b)
                              for (int64_t i = 0; i < v.size(1) * kWidth; ++i) {
                                  const int64_t k = b * v.size(1) * kWidth + i;
                                  all[static_cast<size_t>(index)][static_cast<size_t>(
                                      (b * batch.L + tile * T) * kWidth + i)] =
                                      v.dtype == DType::bf16
                                          ? static_cast<double>(float_of(static_cast<const bf16*>(v.data)[k]))
                                          : ToyModel::get(v, k);
                              }
                      });
    // Twice: on a GPU the second time from recorded work.
    for (int time = 0; time < 3; ++time) {
        embedder.reset();
        for (int64_t t = 0; t < batch.L; t += T)
            embedder.run(
                {0, batch.B, std::min(T, batch.L - t), t, batch.L, batch.ids.ref().ptr<uint16_t>("ids") + t,
                 nullptr, nullptr, batch.start.ref().ptr<uint8_t>("start") + t},
                t / T);
        embedder.finish();
    }
    return all;
}

class EmbedderOfEveryMixer : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Mixers, EmbedderOfEveryMixer, testing::ValuesIn(mixer_names()));

TEST_P(EmbedderOfEveryMixer, the_stream_after_the_last_block_is_what_the_final_norm_reads) {
    ToyModel toy(GetParam(), DType::f64, kWidth, kBlocks);
    ThreadPool pool(2);
    const Compute compute{.storage = DType::f64, .pool = &pool};
    const Batch batch = toy_batch(2, 30, {0, 13});
    const auto all = outputs_of(toy, compute, batch, 30, {{0, 1, 2, 3}, true});
    std::vector<double> weight;
    for (const auto& e : toy.params.entries())
        if (e.spec.name == "backbone.norm_f.weight")
            for (int64_t c = 0; c < kWidth; ++c)
                weight.push_back(ToyModel::get(toy.params.masters(), e.offset + c));
    ASSERT_EQ(weight.size(), 8u);
    std::vector<double> normed;
    for (size_t t = 0; t < 60; ++t) {
        double squares = 0;
        for (size_t c = 0; c < 8; ++c) squares += all[3][t * 8 + c] * all[3][t * 8 + c];
        for (size_t c = 0; c < 8; ++c)
            normed.push_back(all[3][t * 8 + c] / std::sqrt(squares / 8 + 1e-5) * weight[c]);
    }
    EXPECT_LE(relative_rms(all[4], normed), 1e-9);
    // Layer 0: the rows of the embedding.
    for (size_t t = 0; t < 60; ++t)
        for (size_t c = 0; c < 8; ++c)
            EXPECT_EQ(all[0][t * 8 + c],
                      ToyModel::get(toy.params.masters(), batch.ids.ref().ptr<uint16_t>("ids")[t] * kWidth +
                                                              static_cast<int64_t>(c)));
}

TEST_P(EmbedderOfEveryMixer, an_output_has_the_same_bits_whatever_else_is_asked_for) {
    ToyModel toy(GetParam(), DType::f32, kWidth, kBlocks);
    ThreadPool pool(2);
    const Compute compute{.pool = &pool};
    const Batch batch = toy_batch(2, 50, {0, 20});
    const auto all = outputs_of(toy, compute, batch, 20, {{0, 1, 2, 3}, true});
    for (int64_t k = 0; k <= kBlocks; ++k)
        EXPECT_EQ(outputs_of(toy, compute, batch, 20, {{k}, false})[0], all[static_cast<size_t>(k)]) << k;
    EXPECT_EQ(outputs_of(toy, compute, batch, 20, {})[0], all[4]);
    EXPECT_THROW(outputs_of(toy, compute, batch, 20, {{4}, true}), Error);
}

class EmbedderOnGpu : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(CudaMixers, EmbedderOnGpu, testing::ValuesIn(mixer_names()));

TEST_P(EmbedderOnGpu, outputs_equal_those_of_the_cpu_at_any_tile) {
    if (const std::string problem = gpu_problem(); !problem.empty())
        GTEST_SKIP() << "skipped: no GPU: " << problem;
    Gpu gpu;
    ThreadPool pool(1);
    ToyModel here(GetParam(), DType::f32, kWidth, kBlocks);
    const Batch batch = toy_batch(2, 70, {0, 30, 31});
    for (const EmbedderOutputs& outputs :
         {EmbedderOutputs{}, EmbedderOutputs{{0, 2}, false}, EmbedderOutputs{{1, 3}, true}}) {
        const auto exact = outputs_of(here, {.pool = &pool}, batch, 70, outputs);
        for (DType storage : {DType::f32, DType::bf16}) {
            ToyModel there(GetParam(), storage, kWidth, kBlocks, Discretization::euler, Device::cuda);
            for (int64_t T : {9, 32, 70}) {
                const auto values =
                    outputs_of(there, {Device::cuda, storage, nullptr, &gpu}, batch, T, outputs);
                for (size_t i = 0; i < exact.size(); ++i)
                    EXPECT_LE(relative_rms(values[i], exact[i]), storage == DType::f32 ? 1e-5 : 2e-2)
                        << name_of(storage) << T;
            }
        }
    }
}

}  // namespace
}  // namespace adder
