// The steps of mixers between two norms of a residual stream.
#include <gtest/gtest.h>

#include "kernels/common/op_memory.h"
#include "model/state.h"
#include "toy.h"

namespace adder {
namespace {

// A mixer that knows nothing of streams.
class PlainMixer final : public Layer {
  public:
    explicit PlainMixer(Layer& mixer) : mixer_(mixer) {}
    void visit(ParamVisitor& v) override { mixer_.visit(v); }
    StateSpec state_spec(int64_t B) const override { return mixer_.state_spec(B); }
    void forward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& y, State in, State out,
                 Saved* saved) override {
        mixer_.forward(ctx, tile, x, y, in, out, saved);
    }
    void backward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& dy, const TensorRef& dx, State in,
                  State d_state, Saved& saved) override {
        mixer_.backward(ctx, tile, x, dy, dx, in, d_state, saved);
    }
    void step(Ctx& ctx, const TensorRef& x, const TensorRef& y, State state, int64_t phase) override {
        mixer_.step(ctx, x, y, state, phase);
    }

  private:
    Layer& mixer_;
};

std::vector<double> random_numbers(int64_t n) {
    const Philox random(11, Stream::test);
    std::vector<double> all;
    for (int64_t i = 0; i < n; ++i) all.push_back(rounded_to(DType::bf16, random.normal(static_cast<uint64_t>(i))));
    return all;
}

// y of the second of two blocks, a few steps in: norm, mixer, norm, mixer.
std::vector<double> two_blocks(const ModelConfig& c, const Compute& on, int64_t B, bool plain) {
    const int64_t M = c.d_model, kSteps = 3;
    const std::unique_ptr<Layer> mixer = find_mixer(c.mixer).make(c);
    PlainMixer other(*mixer);
    Layer& layer = plain ? static_cast<Layer&>(other) : *mixer;
    Param norms[2];
    ParamStore params(
        [&](ParamVisitor& v) {
            for (Param& norm : norms) v(&norm == norms ? "first" : "second", norm, {M}, {Init::Kind::uniform, 0.5, 1.5}, kVector);
            layer.visit(v);
        },
        on.storage, false, on.device);
    params.initialise(7);
    params.refresh_copies();
    StateStore states(layer.state_spec(B), on.accum(), 2, on.device);
    Tensor here(on.storage, {B, 1, M}), x(on.storage, {B, 1, M}, on.device), y(on.storage, {B, 1, M}, on.device);
    set_values(here, random_numbers(B * M));
    copy(here.ref(), x.ref());
    Arena scratch(on.device, "scratch");
    const auto step = [&](Ctx ctx) {
        ArenaScope scope(*ctx.scratch);
        StepStream first = alloc_step_stream(ctx, on.storage, B, M), second = first;
        first.weight = norms[0].value, second.weight = norms[1].value;
        add_to_stream(ctx, x, {}, first);
        layer.step_normed(ctx, first, {{}, second}, states[0]);
        layer.step_normed(ctx, second, {y, {}}, states[1]);
    };
    step(on.context(scratch, true));
    scratch.bind(scratch.peak_bytes());
    for (int64_t i = 0; i < kSteps; ++i) step(on.context(scratch));
    if (on.gpu) on.gpu->synchronize();
    copy(y.ref(), here.ref());
    return values_of(here);
}

// Of widths and taps that the fused kernels take, and of others.
std::vector<ModelConfig> configs_of(const std::string& mixer) {
    std::vector<ModelConfig> all;
    for (const int64_t d_model : {16, 24, 20})
        for (const int64_t taps : {4, 3}) {
            ModelConfig c = ToyModel::config(mixer, d_model, 2, Discretization::euler);
            c.d_conv = taps;
            c.ngroups = d_model == 24 ? 2 : 1;
            all.push_back(c);
        }
    return all;
}

class StepOfEveryMixer : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Mixers, StepOfEveryMixer, testing::ValuesIn(mixer_names()));

TEST_P(StepOfEveryMixer, into_a_stream_equals_the_step_and_then_the_norm) {
    ThreadPool pool(1);
    for (const ModelConfig& c : configs_of(GetParam()))
        for (const DType storage : {DType::f64, DType::f32})
            for (const int64_t B : {1, 3}) {
                const Compute on{.storage = storage, .pool = &pool};
                EXPECT_LE(relative_rms(two_blocks(c, on, B, false), two_blocks(c, on, B, true)),
                          storage == DType::f64 ? 1e-12 : 1e-5)
                    << c.d_model << " " << c.d_conv;
            }
}

TEST_P(StepOfEveryMixer, on_a_gpu_equals_that_of_the_cpu) {
    if (const std::string problem = gpu_problem(); !problem.empty()) GTEST_SKIP() << "skipped: no GPU: " << problem;
    Gpu gpu;
    ThreadPool pool(1);
    for (const ModelConfig& c : configs_of(GetParam()))
        for (const int64_t B : {1, 3, 17, 64}) {
            const std::vector<double> exact = two_blocks(c, {.pool = &pool}, B, false);
            for (const DType storage : {DType::f32, DType::bf16})
                for (const bool plain : {false, true})
                    EXPECT_LE(relative_rms(two_blocks(c, {Device::cuda, storage, nullptr, &gpu}, B, plain), exact),
                              storage == DType::f32 ? 1e-5 : 2e-2)
                        << c.d_model << " " << c.d_conv << " " << name_of(storage) << " " << B << " " << plain;
        }
}

}  // namespace
}  // namespace adder
