#include "apps/model_bench.h"


#include "apps/bench_parts.h"
#include "core/error.h"
#include "model/embedder.h"
#include "model/generate.h"

namespace adder {

namespace {

// Tokens of a tile of a forward pass, over all rows.
constexpr int64_t kForwardTile = 4096, kForwardTileOnGpu = 1 << 17;
constexpr double kEnoughMs = 1e4;

ModelTiming time_forward(const ModelCase& c, const Compute& compute, int64_t runs) {
    BenchModel m(c, compute, false);
    const int64_t most = compute.device == Device::cpu ? kForwardTile : kForwardTileOnGpu;
    ModelTiming timing;
    timing.tile = std::min(c.tile > 0 ? c.tile : std::max<int64_t>(1, most / c.B), c.L);
    Embedder embedder(m.model, compute, c.B, c.B * timing.tile, {});
    const BenchTokens tokens(c.B, c.L, 1);
    const auto forward = [&] {
        const auto begin = BenchClock::now();
        embedder.reset();
        for (int64_t t0 = 0; t0 < c.L; t0 += timing.tile)
            embedder.run({0, c.B, std::min(timing.tile, c.L - t0), t0, c.L, tokens.ids(0) + t0, nullptr, nullptr, nullptr}, 0);
        if (compute.gpu) compute.gpu->synchronize();
        return ms_since(begin);
    };
    // Work on a GPU is recorded the second time.
    for (int i = 0; i < (compute.gpu ? 3 : 1); ++i) forward();
    take_times(runs, kEnoughMs, forward, timing);
    timing.parameters = m.params.count();
    timing.memory_bytes = m.params.bytes() + embedder.bytes();
    timing.tokens_per_s = 1e3 * static_cast<double>(c.B * c.L) / timing.best_ms;
    return timing;
}

// Records of two lengths: their difference is steps alone, drawing and reading the tokens included.
ModelTiming time_decoding(const ModelCase& c, const Compute& compute, int64_t runs) {
    BenchModel m(c, compute, false);
    GenerateOptions g;
    g.n_records = g.batch = c.B;
    g.sampler.allowed.assign(static_cast<size_t>(m.model.vocab()), 1);
    const auto generate_ms = [&](int64_t tokens) {
        g.n_tokens = tokens;
        const auto begin = BenchClock::now();
        generate(m.model, compute, g, [](int64_t) { return std::span<const uint16_t>(); },
                 [](int64_t, std::span<const uint16_t>) {});
        return ms_since(begin);
    };
    const int64_t few = 257, steps = 2048;
    generate_ms(few);
    ModelTiming shorter, timing;
    take_times(runs, kEnoughMs / 4, [&] { return generate_ms(few); }, shorter);
    take_times(runs, kEnoughMs, [&] { return generate_ms(few + steps); }, timing);
    timing.best_ms = (timing.best_ms - shorter.best_ms) / static_cast<double>(steps);
    timing.median_ms = (timing.median_ms - shorter.median_ms) / static_cast<double>(steps);
    timing.parameters = m.params.count();
    timing.tokens_per_s = 1e3 * static_cast<double>(c.B) / timing.best_ms;
    return timing;
}

std::vector<ModelCase> cpu_cases() {
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

std::vector<ModelCase> cuda_cases() {
    constexpr int64_t k128 = 1 << 17, k1024 = 1 << 20;
    return {
        {"train_step", "mamba1", 256, 8, 1, k128},
        {"train_step", "mamba1", 256, 8, 1, k1024},
        {"train_step", "mamba2", 256, 8, 1, k128},
        {"train_step", "mamba2", 256, 8, 1, k1024},
        {"train_step", "mamba1", 768, 24, 16, 2048},
        {"train_step", "mamba2", 768, 24, 16, 2048},
        {"train_step", "mamba1", 768, 24, 1, k128},
        {"train_step", "mamba2", 768, 24, 1, k128},
        {"train_step", "mamba1", 128, 4, 64, 1024},
        {"train_step", "mamba1", 256, 16, 1, k1024},
        {"embed_forward", "mamba1", 256, 8, 1, k128},
        {"embed_forward", "mamba1", 256, 8, 1, k1024},
        {"embed_forward", "mamba1", 256, 8, 256, 1024},
        {"embed_forward", "mamba2", 256, 8, 1, k128},
        {"embed_forward", "mamba2", 256, 8, 1, k1024},
        {"embed_forward", "mamba1", 768, 24, 8, 2048},
        {"embed_forward", "mamba2", 768, 24, 8, 2048},
        {"decode_cuda_graph", "mamba1", 256, 8, 1},
        {"decode_cuda_graph", "mamba1", 256, 8, 64},
        {"decode_cuda_graph", "mamba2", 256, 8, 1},
        {"decode_cuda_graph", "mamba2", 256, 8, 64},
        {"decode_cuda_graph", "mamba1", 512, 16, 1},
        {"decode_cuda_graph", "mamba1", 512, 16, 64},
        {"decode_cuda_graph", "mamba1", 768, 24, 1},
        {"decode_cuda_graph", "mamba1", 768, 24, 128},
    };
}

// The one model that the options describe.
std::vector<ModelCase> described_cases(const cli::BenchOptions& o) {
    std::vector<ModelCase> all;
    for (const std::string mixer : {"mamba1", "mamba2"}) {
        if (!o.mixer.empty() && o.mixer != mixer) continue;
        ModelCase c{o.op, mixer, o.d_model.value_or(256), o.layers.value_or(8), o.batch.value_or(1),
                    o.length.value_or(4096), o.tile.value_or(0)};
        if (o.op == "decode_cuda_graph") c.L = 0;
        all.push_back(c);
    }
    return all;
}

}  // namespace

std::string ModelCase::title() const {
    std::string text = what;
    if (!mixer.empty()) text += fmt::format(" {} d{} n{}", mixer, d_model, n_layer);
    text += fmt::format(" B{}", B);
    if (L > 0) text += fmt::format(" L{}", L);
    if (tile > 0) text += fmt::format(" tile{}", tile);
    return text;
}

std::vector<ModelCase> model_cases(const cli::BenchOptions& o, Device device) {
    std::vector<ModelCase> all = o.describes_model() ? described_cases(o)
                                 : device == Device::cuda ? cuda_cases() : cpu_cases();
    if (!o.describes_model())
        for (const auto& [B, L] : {std::pair{1, 1 << 20}, {16, 2048}, {64, 1024}}) all.push_back({"loader", "", 0, 0, B, L});
    if (o.tile)
        for (ModelCase& c : all) c.tile = *o.tile;
    return all;
}

ModelTiming time_model(const ModelCase& c, const Compute& compute, const cli::BenchOptions& o) {
    if (c.what == "train_step") return time_training(c, compute, o);
    if (c.what == "embed_forward") return time_forward(c, compute, o.repeats);
    if (c.what == "decode_cuda_graph") return time_decoding(c, compute, o.repeats);
    CHECK(c.what == "loader");
    return time_loader(c, o.repeats);
}

}  // namespace adder
