#include "apps/bench_parts.h"

#include "core/rng.h"

namespace adder {

namespace {

ModelConfig config_of(const ModelCase& c) {
    ModelConfig m;
    m.mixer = c.mixer;
    m.d_model = c.d_model;
    m.n_layer = c.n_layer;
    m.vocab_size = kBenchVocabulary;
    return m;
}

}  // namespace

BenchModel::BenchModel(const ModelCase& c, const Compute& compute, bool trained)
    : model(config_of(c)), params([this](ParamVisitor& v) { model.visit(v); }, compute.storage, trained, compute.device) {
    params.initialise(1);
}

BenchTokens::BenchTokens(int64_t B, int64_t L, int64_t batches) {
    const Philox random(1, Stream::test);
    for (int64_t s = 0; s < batches; ++s) {
        Batch& batch = batches_.emplace_back(B, L);
        auto* ids = batch.ids.ref().ptr<uint16_t>("ids");
        const int64_t n = B * L;
        for (int64_t i = 0, last = 0; i < n; ++i) {
            const auto bits = random.u64(static_cast<uint64_t>(i), static_cast<uint32_t>(s));
            last = (bits & 3) == 0 ? static_cast<int64_t>(bits >> 60) : (5 * last + 3) % kBenchVocabulary;
            ids[i] = static_cast<uint16_t>(last);
        }
        auto* targets = batch.targets.ref().ptr<uint16_t>("targets");
        auto* weights = batch.weights.ref().ptr<float>("weights");
        std::copy_n(ids + 1, n - 1, targets);
        std::fill_n(weights, n, 1.0f);
        for (int64_t b = 0; b < B; ++b) {
            batch.start.ref().ptr<uint8_t>("start")[b * L] = 1;
            if (L > 1) weights[b * L + L - 1] = 0;
        }
    }
}

FillBatch BenchTokens::fill() const {
    return [this](int64_t step, int64_t, Batch& to) {
        const Batch& from = batches_[static_cast<size_t>(step) % batches_.size()];
        copy(from.ids, to.ids);
        copy(from.targets, to.targets);
        copy(from.weights, to.weights);
        copy(from.start, to.start);
    };
}

const uint16_t* BenchTokens::ids(int64_t batch) const {
    return batches_[static_cast<size_t>(batch)].ids.ref().ptr<uint16_t>("ids");
}

}  // namespace adder
