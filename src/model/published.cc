#include "model/published.h"

#include "core/error.h"

namespace adder {

namespace {

ModelConfig unet_of(int64_t vocabulary, int64_t d_model, int64_t n_layer, int64_t pool) {
    ModelConfig c;
    c.backbone = "unet";
    c.mixer = "mamba1";
    c.d_model = d_model;
    c.n_layer = n_layer;
    c.stage_pools = {pool, pool};
    c.dt_rank = d_model / 32;
    c.vocab_size = vocabulary;
    c.tie_embeddings = false;
    c.resolve();
    return c;
}

constexpr PublishedModel kModels[] = {
    {"sc09", 6.1e6, [](int64_t vocabulary) { return unet_of(vocabulary, 64, 8, 4); }},
    {"sc09-large", 24.3e6, [](int64_t vocabulary) { return unet_of(vocabulary, 96, 15, 4); }},
    {"youtubemix", 3.5e6, [](int64_t vocabulary) { return unet_of(vocabulary, 64, 3, 16); }},
};

}  // namespace

std::span<const PublishedModel> published_models() { return kModels; }

const PublishedModel& find_published_model(const std::string& name) {
    std::string known;
    for (const PublishedModel& m : kModels) {
        if (name == m.name) return m;
        known += (known.empty() ? "" : ", ") + std::string(m.name);
    }
    fail("[model] preset: unknown name \"{}\"; known: {}", name, known);
}

}  // namespace adder
