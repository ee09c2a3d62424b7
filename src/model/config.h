// ModelConfig: the architecture, as state-spaces/mamba's config.json describes it.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kernels/common/discretization.h"
#include "kernels/common/pool_kind.h"

namespace adder {

// Zero stands for "derived" where a comment says so; `resolve` fills it in.
struct ModelConfig {
    std::string mixer = "mamba2";  // a name of the mixer registry
    std::string backbone = "flat";  // a name of the backbone registry
    int64_t d_model = 128;
    int64_t n_layer = 4;                   // blocks; of a U-Net, of each way through a stage
    // U-Net only (unet.h). Stages are counted from the outermost, whose width is d_model.
    std::vector<int64_t> stage_pools;       // steps that become one, between neighbouring stages; derived: 4, 4
    std::vector<int64_t> expand_width;      // how much wider the next stage is, one for all or one a pool; derived: 2
    std::vector<std::string> stage_mixers;  // one a stage, the first of which is `mixer`; derived: `mixer` in all
    int64_t vocab_size = 0;                // tokens in use, before padding
    int64_t pad_vocab_size_multiple = 8;
    // N; derived: 16 for mamba1, 128 for mamba2. Where stages differ in this it stays 0, and each takes its own.
    int64_t d_state = 0;
    int64_t d_conv = 4;                    // K
    int64_t expand = 2;                    // d_inner = expand * d_model
    int64_t dt_rank = 0;                   // mamba1; derived: ceil(d_model / 16); grows with the width of a stage
    int64_t headdim = 0;                   // mamba2, P; derived: 64, or d_inner where that is smaller
    int64_t ngroups = 1;                   // mamba2, G
    bool conv_bias = true;
    bool tie_embeddings = true;
    double norm_epsilon = 1e-5;
    double dt_min = 1e-3, dt_max = 0.1, dt_init_floor = 1e-4;
    Discretization discretization = Discretization::euler;
    // A classifier: the names of its classes in the order of their ids, and what its head reads of a member. No names: a
    // language model.
    std::vector<std::string> classes;
    PoolKind pool = PoolKind::mean;

    int64_t d_inner() const { return expand * d_model; }
    int64_t n_heads() const { return d_inner() / headdim; }
    int64_t padded_vocab() const;
    static std::vector<int64_t> default_pools() { return {4, 4}; }
    int64_t n_stages() const { return static_cast<int64_t>(stage_pools.size()) + 1; }
    // Of a resolved U-Net: what the mixers of stage i are made of, as a flat model's. Its n_layer counts the residual adds on
    // the stage's stream.
    ModelConfig stage(int64_t i) const;
    bool is_classifier() const { return !classes.empty(); }
    // Fills in derived fields and throws Error naming the first field whose value cannot work.
    void resolve();

  private:
    void resolve_stages();
};

// "mean", "last" or "max"; `source` names its place in messages.
PoolKind pool_kind_of(const std::string& name, const std::string& source);

// config.json in the keys of state-spaces/mamba's MambaConfig. A missing field takes its default, an unknown one is an
// Error. `source` names the file in messages.
nlohmann::json to_json(const ModelConfig& config);
ModelConfig model_config_from_json(const nlohmann::json& json, const std::string& source);

}  // namespace adder
