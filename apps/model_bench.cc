#include "apps/model_bench.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "core/rng.h"
#include "model/session.h"
#include "train/trainer.h"

namespace adder {

namespace {

constexpr int64_t kVocabulary = 16;
constexpr int64_t kForwardTile = 4096;
constexpr int64_t kDecodedTokens = 256;  // a run of single steps
constexpr double kEnoughSeconds = 10;

// A model with initial weights.
struct BenchModel {
    BenchModel(const ModelCase& c, const Compute& compute, bool trained)
        : model(config(c)), params([this](ParamVisitor& v) { model.visit(v); }, compute.storage, trained, compute.device) {
        params.initialise(1);
    }
    static ModelConfig config(const ModelCase& c) {
        ModelConfig m;
        m.mixer = c.mixer;
        m.d_model = c.d_model;
        m.n_layer = c.n_layer;
        m.vocab_size = kVocabulary;
        return m;
    }
    LanguageModel model;
    ParamStore params;
};

void fill_tokens(Batch& batch, int64_t step) {
    const Philox random(1, Stream::test);
    auto* ids = batch.ids.ref().ptr<uint16_t>("ids");
    auto* targets = batch.targets.ref().ptr<uint16_t>("targets");
    const int64_t n = batch.B * batch.L;
    for (int64_t i = 0; i < n; ++i)
        ids[i] = static_cast<uint16_t>(random.below(kVocabulary, static_cast<uint64_t>(i), static_cast<uint32_t>(step)));
    std::copy_n(ids + 1, n - 1, targets);
    std::fill_n(batch.weights.ref().ptr<float>("weights"), n, 1.0f);
    for (int64_t b = 0; b < batch.B; ++b) batch.start.ref().ptr<uint8_t>("start")[b * batch.L] = 1;
}

// `f` is called once before the clock runs.
template <class F>
void time_runs(int64_t runs, F f, ModelTiming& timing) {
    using Clock = std::chrono::steady_clock;
    f();
    std::vector<double> ms;
    double total_s = 0;
    while (static_cast<int64_t>(ms.size()) < runs && (ms.empty() || total_s < kEnoughSeconds)) {
        const auto begin = Clock::now();
        f();
        const std::chrono::duration<double> took = Clock::now() - begin;
        total_s += took.count();
        ms.push_back(took.count() * 1e3);
    }
    std::sort(ms.begin(), ms.end());
    timing.best_ms = ms.front();
    timing.median_ms = ms[ms.size() / 2];
    timing.runs = static_cast<int64_t>(ms.size());
}

ModelTiming time_training(const ModelCase& c, const Compute& compute, int64_t runs) {
    BenchModel m(c, compute, true);
    const MemoryPlan plan = plan_training(m.model, compute, {c.B, c.L, c.tile > 0 ? c.tile : c.L, 1});
    Trainer trainer(m.model, m.params, {}, compute, plan);
    ModelTiming timing;
    timing.parameters = m.params.count();
    timing.memory_bytes = plan.total_bytes();
    // The batch is made once: what is timed is the model and the optimizer.
    Batch tokens(c.B, c.L);
    fill_tokens(tokens, 0);
    const FillBatch fill = [&](int64_t, int64_t, Batch& batch) {
        copy(tokens.ids, batch.ids);
        copy(tokens.targets, batch.targets);
        copy(tokens.weights, batch.weights);
        copy(tokens.start, batch.start);
    };
    int64_t step = 0;
    time_runs(runs, [&] { trainer.step(step++, 1, 1e-3, fill); }, timing);
    timing.tokens_per_s = 1e3 * static_cast<double>(c.B * c.L) / timing.best_ms;
    return timing;
}

// Every layer, the last norm and the head, row by row.
ModelTiming time_forward(const ModelCase& c, const Compute& compute, int64_t runs) {
    BenchModel m(c, compute, false);
    const int64_t T = std::min(c.tile > 0 ? c.tile : kForwardTile, c.L);
    Session session(m.model, compute, c.B, T);
    Batch tokens(c.B, c.L);
    fill_tokens(tokens, 0);
    const auto* ids = tokens.ids.ref().ptr<uint16_t>("ids");
    const auto* targets = tokens.targets.ref().ptr<uint16_t>("targets");
    const auto* weights = tokens.weights.ref().ptr<float>("weights");
    std::vector<double> nats(static_cast<size_t>(T));
    ModelTiming timing;
    timing.parameters = m.params.count();
    const auto forward = [&] {
        for (int64_t b = 0; b < c.B; ++b) {
            session.reset(b);
            for (int64_t t = 0; t < c.L; t += T) {
                const int64_t i = b * c.L + t;
                session.score({b, 1, std::min(T, c.L - t), t, 0, ids + i, targets + i, weights + i}, nats.data());
            }
        }
        session.finish();
    };
    time_runs(runs, forward, timing);
    timing.tokens_per_s = 1e3 * static_cast<double>(c.B * c.L) / timing.best_ms;
    return timing;
}

ModelTiming time_decoding(const ModelCase& c, const Compute& compute, int64_t runs) {
    BenchModel m(c, compute, false);
    Session session(m.model, compute, c.B, 1);
    std::vector<uint16_t> ids(static_cast<size_t>(c.B));
    for (size_t b = 0; b < ids.size(); ++b) ids[b] = static_cast<uint16_t>(b % kVocabulary);
    ModelTiming timing;
    timing.parameters = m.params.count();
    const auto decode = [&] {
        for (int64_t t = 0; t < kDecodedTokens; ++t) session.step(ids.data());
    };
    time_runs(runs, decode, timing);
    timing.best_ms /= kDecodedTokens;
    timing.median_ms /= kDecodedTokens;
    timing.tokens_per_s = 1e3 * static_cast<double>(c.B) / timing.best_ms;
    return timing;
}

}  // namespace

std::string ModelCase::title() const {
    std::string text = fmt::format("{} {} d{} n{} B{}", what, mixer, d_model, n_layer, B);
    if (L > 0) text += fmt::format(" L{}", L);
    if (tile > 0) text += fmt::format(" tile{}", tile);
    return text;
}

std::vector<ModelCase> model_cases() {
    std::vector<ModelCase> all;
    for (const char* mixer : {"mamba1", "mamba2"}) {
        all.push_back({"train_step", mixer, 128, 4, 1, 8192});
        // Time is linear in the length at a fixed tile.
        for (int64_t L = int64_t{1} << 14; L <= int64_t{1} << 20; L *= 4)
            all.push_back({"train_step", mixer, 64, 2, 1, L, 4096});
        for (const int64_t L : {8192, 131072}) all.push_back({"embed_forward", mixer, 128, 4, 1, L});
        for (const int64_t B : {1, 64}) all.push_back({"decode_cuda_graph", mixer, 128, 4, B});
    }
    return all;
}

ModelTiming time_model(const ModelCase& c, const Compute& compute, int64_t runs) {
    const std::string_view what = c.what;
    if (what == "train_step") return time_training(c, compute, runs);
    if (what == "embed_forward") return time_forward(c, compute, runs);
    CHECK(what == "decode_cuda_graph");
    return time_decoding(c, compute, runs);
}

}  // namespace adder
