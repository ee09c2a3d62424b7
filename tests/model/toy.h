// Small models and batches for the tests of the layers, the tile engine and the trainer.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/batch.h"
#include "core/rng.h"
#include "model/registry.h"
#include "model/tile_engine.h"

namespace adder {

// Every backbone of the registry with every mixer of its own: "flat mamba1".
inline std::vector<std::string> model_names() {
    std::vector<std::string> names;
    for (const BackboneEntry& b : backbones())
        for (const MixerEntry& m : mixers()) names.push_back(std::string(b.name) + " " + m.name);
    return names;
}

inline std::vector<std::string> mixer_names() {
    std::vector<std::string> names;
    for (const MixerEntry& m : mixers()) names.emplace_back(m.name);
    return names;
}

struct ToyModel {
    // `name`: a mixer, of a flat model, or one of model_names.
    ToyModel(const std::string& name, DType storage_, int64_t d_model = 8, int64_t n_layer = 2,
             Discretization discretization = Discretization::euler, Device device = Device::cpu)
        : ToyModel(config(name, d_model, n_layer, discretization), storage_, device) {}

    explicit ToyModel(const ModelConfig& config, DType storage_, Device device = Device::cpu, bool frozen = false)
        : storage(storage_), model(config), params([&](ParamVisitor& v) {
              if (frozen) model.freeze_backbone();
              model.visit(v);
          }, storage_, true, device) {
        params.initialise(7);
        const HostCopy masters(params.masters());
        // Away from the initial values, so that every parameter matters: the initial embedding is nearly zero, and the
        // initial skips, norms and biases are constant.
        const Philox random(3, Stream::test);
        uint64_t i = 0;
        for (const auto& e : params.entries())
            for (int64_t k = 0; k < e.spec.shape.numel(); ++k) add(masters.ref(), e.offset + k, 0.3 * random.normal(i++));
        masters.upload();
        params.refresh_copies();
    }

    static ModelConfig config(const std::string& name, int64_t d_model, int64_t n_layer, Discretization d) {
        ModelConfig c;
        const size_t space = name.find(' ');
        c.mixer = name.substr(space == std::string::npos ? 0 : space + 1);
        if (space != std::string::npos) c.backbone = name.substr(0, space);
        c.d_model = d_model;
        c.n_layer = n_layer;
        c.vocab_size = 12;
        c.d_state = 5;
        c.headdim = 4;
        c.ngroups = 2;
        c.discretization = d;
        if (c.backbone == "unet") {
            c.n_layer = 1;
            c.stage_pools = {3, 2};
            c.expand_width = {2, 1};
        }
        return c;
    }
    // Where tiles and members may begin.
    int64_t stride() const { return model.backbone().stride(); }
    // The longest tile that is not above T.
    int64_t tile(int64_t T) const { return whole_tile(model, T); }

    // A classifier of three classes.
    static ModelConfig classifier(const std::string& mixer, PoolKind pool, int64_t d_model = 8) {
        ModelConfig c = config(mixer, d_model, 2, Discretization::euler);
        c.classes = {"a", "b", "c"};
        c.pool = pool;
        return c;
    }

    static double get(const TensorRef& t, int64_t k) {
        return t.dtype == DType::f64 ? static_cast<const double*>(t.data)[k]
                                     : static_cast<double>(static_cast<const float*>(t.data)[k]);
    }
    static void add(const TensorRef& t, int64_t k, double x) {
        if (t.dtype == DType::f64)
            static_cast<double*>(t.data)[k] += x;
        else
            static_cast<float*>(t.data)[k] = static_cast<float>(get(t, k) + x);
    }

    // All gradients, all parameters, one after the other.
    std::vector<double> gradients() const { return elements(params.gradients()); }
    std::vector<double> values() const { return elements(params.masters()); }
    std::vector<double> elements(const TensorRef& buffer) const {
        const HostCopy host(buffer);
        std::vector<double> all;
        for (const auto& e : params.entries())
            for (int64_t k = 0; k < e.spec.shape.numel(); ++k) all.push_back(get(host.ref(), e.offset + k));
        return all;
    }

    DType storage;
    LanguageModel model;
    ParamStore params;
};

// Random tokens and weights; in row b a start b steps behind those of `starts`, or at the multiple of `every` before.
inline Batch toy_batch(int64_t B, int64_t L, const std::vector<int64_t>& starts, uint64_t seed = 1, int64_t every = 1) {
    Batch batch(B, L);
    const Philox random(seed, Stream::test);
    auto* ids = batch.ids.ref().ptr<uint16_t>("ids");
    auto* targets = batch.targets.ref().ptr<uint16_t>("targets");
    auto* weights = batch.weights.ref().ptr<float>("weights");
    auto* start = batch.start.ref().ptr<uint8_t>("start");
    for (int64_t i = 0; i < B * L; ++i) {
        const auto n = static_cast<uint64_t>(i);
        ids[i] = static_cast<uint16_t>(7 + random.below(5, n, 0));
        targets[i] = static_cast<uint16_t>(7 + random.below(5, n, 1));
        weights[i] = random.below(8, n, 2) == 0 ? 0.0f : random.below(8, n, 3) == 0 ? 0.25f : 1.0f;
    }
    for (int64_t b = 0; b < B; ++b)
        for (int64_t t : starts)
            if (t + b < L) start[b * L + (t + b) / every * every] = 1;
    return batch;
}

// The same, where every target is the next token of its row: what a packed batch can hold.
inline Batch next_token_batch(int64_t B, int64_t L, const std::vector<int64_t>& starts, uint64_t seed = 1,
                              int64_t every = 1) {
    Batch batch = toy_batch(B, L, starts, seed, every);
    const auto* ids = batch.ids.ref().ptr<uint16_t>("ids");
    auto* targets = batch.targets.ref().ptr<uint16_t>("targets");
    for (int64_t i = 0; i + 1 < B * L; ++i)
        if (i % L + 1 < L) targets[i] = ids[i + 1];
    return batch;
}

// Members from start to start, each with a class at its last position; one in eight is not counted. The first row's last
// `padding` columns are a member of their own that is not counted.
inline Batch member_batch(int64_t B, int64_t L, const std::vector<int64_t>& starts, int64_t padding = 0,
                          int64_t every = 1) {
    Batch batch = toy_batch(B, L, starts, 1, every);
    const Philox random(5, Stream::test);
    auto* targets = batch.targets.ref().ptr<uint16_t>("targets");
    auto* weights = batch.weights.ref().ptr<float>("weights");
    auto* start = batch.start.ref().ptr<uint8_t>("start");
    if (padding > 0) start[L - padding] = 1;
    for (int64_t i = 0; i < B * L; ++i) {
        const auto n = static_cast<uint64_t>(i);
        const bool ends = i % L == L - 1 || start[i + 1] != 0, pads = i < L && i >= L - padding;
        weights[i] = !ends || pads || random.below(8, n, 2) == 0 ? 0.0f : random.below(2, n, 3) == 0 ? 0.25f : 1.0f;
        targets[i] = static_cast<uint16_t>(random.below(3, n, 1));
    }
    return batch;
}

inline void copy_batch(const Batch& from, Batch& to) {
    copy(from.ids, to.ids);
    copy(from.targets, to.targets);
    copy(from.weights, to.weights);
    copy(from.start, to.start);
}

// A packed batch in memory of its own.
struct PackedCopy {
    PackedCopy(const Batch& batch, const TokenRange& range, Device device) {
        const int64_t vocab = range.all(), bytes = PackedBatch::bytes(vocab, batch.B, batch.L);
        Tensor host(DType::u8, {bytes});
        pack(batch, range, PackedBatch::at(host.ref().data, Device::cpu, vocab, batch.B, batch.L));
        memory = Tensor(DType::u8, {bytes}, device, "a packed batch");
        copy(host, memory);
        at = PackedBatch::at(memory.ref().data, device, vocab, batch.B, batch.L);
        at.filled = batch.filled;
    }
    Tensor memory;
    PackedBatch at;
};

struct ToyRun {
    LossSums sums;
    std::vector<double> gradients;
};

inline ToyRun run_tiles(ToyModel& toy, const Batch& batch, int64_t T, int64_t keep, int threads = 1) {
    ThreadPool pool(threads);
    const Compute compute{.storage = toy.storage, .pool = &pool};
    const MemoryPlan plan = plan_training(toy.model, compute, {batch.B, batch.L, T, keep});
    TileEngine engine(toy.model, compute, plan);
    engine.set_verify(true);
    engine.set_poison(true);
    engine.configure(plan);
    toy.params.zero_gradients({});
    const Tensor sums(DType::f64, {2});
    engine.forward_backward(batch, sums);
    ToyRun run;
    run.sums = {sums.ref().ptr<double>("sums")[0], sums.ref().ptr<double>("sums")[1]};
    run.gradients = toy.gradients();
    return run;
}

inline double relative_rms(const std::vector<double>& a, const std::vector<double>& b) {
    double difference = 0, scale = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        scale += b[i] * b[i];
    }
    return std::sqrt(difference / scale);
}

// The gradients of `run` against central differences of the untiled loss: every `every`-th element and the last of each
// parameter.
inline void expect_central_differences(ToyModel& toy, const Batch& batch, const ToyRun& run, int64_t every) {
    const double h = 1e-5;
    double difference = 0, scale = 0;
    int64_t k = 0;
    for (const auto& e : toy.params.entries())
        for (int64_t i = 0; i < e.spec.shape.numel(); ++i, ++k) {
            if (i % every && i + 1 != e.spec.shape.numel()) continue;
            ToyModel::add(e.param->value, i, h);
            const double up = run_tiles(toy, batch, batch.L, 1).sums.loss;
            ToyModel::add(e.param->value, i, -2 * h);
            const double down = run_tiles(toy, batch, batch.L, 1).sums.loss;
            ToyModel::add(e.param->value, i, h);
            const double numeric = (up - down) / (2 * h), exact = run.gradients[static_cast<size_t>(k)];
            EXPECT_NEAR(exact, numeric, 1e-6 + 1e-5 * std::abs(numeric)) << e.spec.name << "[" << i << "]";
            difference += (exact - numeric) * (exact - numeric);
            scale += numeric * numeric;
        }
    EXPECT_LT(std::sqrt(difference / scale), 1e-7);
    EXPECT_GT(scale, 1e-3);
}

}  // namespace adder
