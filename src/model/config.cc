#include "model/config.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <type_traits>

#include "core/ceil_div.h"
#include "core/error.h"
#include "model/registry.h"

namespace adder {

namespace {

using Json = nlohmann::json;

void in_range(const char* name, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high) fail("[model] {}: {} is outside {} to {}", name, value, low, high);
}

// Whether a value is what it is read as: a conversion would cut 1.5 and overflow at 1e30.
template <class T>
bool is_of(const Json& value) {
    if constexpr (std::is_same_v<T, int64_t>)
        return value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
    else if constexpr (std::is_same_v<T, std::vector<int64_t>>)
        return value.is_array() && std::all_of(value.begin(), value.end(), is_of<int64_t>);
    else if constexpr (std::is_same_v<T, double>)
        return value.is_number();
    else
        return true;
}

// Reads known keys of one JSON object and reports the ones nobody asked for.
class Reader {
  public:
    Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
        if (!json.is_object()) fail("{}: expected a JSON object", where_);
    }
    template <class T>
    void get(const char* key, T& value) {
        known_.insert(key);
        const auto it = json_.find(key);
        if (it == json_.end() || it->is_null()) return;
        try {
            if (is_of<T>(*it)) return void(value = it->get<T>());
        } catch (const Json::exception&) {
        }
        fail("{}: \"{}\" has the wrong type: {}", where_, key, it->dump());
    }
    // Keys that must have one value because this program does nothing else.
    void only(const char* key, const Json& value) {
        known_.insert(key);
        const auto it = json_.find(key);
        if (it != json_.end() && !it->is_null() && *it != value)
            fail("{}: \"{}\" is {}, only {} is supported", where_, key, it->dump(), value.dump());
    }
    void done() const {
        for (const auto& item : json_.items())
            if (!known_.count(item.key())) fail("{}: unknown field \"{}\"", where_, item.key());
    }

  private:
    const Json& json_;
    std::string where_;
    std::set<std::string> known_;
};

}  // namespace

PoolKind pool_kind_of(const std::string& name, const std::string& source) {
    for (PoolKind kind : kPoolKinds)
        if (name == name_of(kind)) return kind;
    fail("{}: pool: expected mean, last or max, got \"{}\"", source, name);
}

int64_t ModelConfig::padded_vocab() const {
    return ceil_div(vocab_size, pad_vocab_size_multiple) * pad_vocab_size_multiple;
}

// Fills in the lists of a U-Net and those numbers of its mixers that stages have in common.
void ModelConfig::resolve_stages() {
    if (stage_pools.empty()) stage_pools = default_pools();
    if (stage_pools.size() > 8) fail("[model] stage_pools: {} pools are more than 8", stage_pools.size());
    if (expand_width.empty()) expand_width = {2};
    if (expand_width.size() == 1) expand_width.assign(stage_pools.size(), expand_width[0]);
    if (stage_mixers.empty()) stage_mixers.assign(stage_pools.size() + 1, mixer);
    if (expand_width.size() != stage_pools.size())
        fail("[model] expand_width: {} numbers for {} pools; expected one for all or one a pool", expand_width.size(),
             stage_pools.size());
    if (stage_mixers.size() != stage_pools.size() + 1)
        fail("[model] stage_mixers: {} mixers for {} stages; expected one a stage", stage_mixers.size(),
             stage_pools.size() + 1);
    for (int64_t p : stage_pools) in_range("stage_pools", p, 2, 1024);
    for (int64_t e : expand_width) in_range("expand_width", e, 1, 16);
    mixer = stage_mixers[0];
    bool alike = true, heads = false, low_rank = false;
    int64_t width = d_model, widest_head = 64;
    for (size_t i = 0; i < stage_mixers.size(); ++i) {
        const MixerEntry& entry = find_mixer(stage_mixers[i]);
        alike = alike && entry.default_d_state == find_mixer(mixer).default_d_state;
        if (entry.uses_heads && !heads) widest_head = std::min<int64_t>(64, expand * width);
        (entry.uses_heads ? heads : low_rank) = true;
        if (i < stage_pools.size()) width *= expand_width[i];
    }
    if (d_state == 0 && alike) d_state = find_mixer(mixer).default_d_state;
    if (headdim == 0 && heads) headdim = widest_head;
    if (dt_rank == 0 && low_rank) dt_rank = ceil_div(d_model, 16);
    for (int64_t i = 0; i < n_stages(); ++i) stage(i);
}

ModelConfig ModelConfig::stage(int64_t i) const {
    CHECK(backbone == "unet" && i >= 0 && i < n_stages());
    ModelConfig s = *this;
    for (int64_t k = 0; k < i; ++k) s.d_model *= expand_width[static_cast<size_t>(k)];
    s.dt_rank = dt_rank * (s.d_model / d_model);
    s.mixer = stage_mixers[static_cast<size_t>(i)];
    s.backbone = "flat";
    s.stage_pools.clear();
    s.classes.clear();
    s.expand_width.clear();
    s.stage_mixers.clear();
    // All stages but the innermost are passed on the way in and on the way out.
    if (i + 1 < n_stages()) s.n_layer *= 2;
    s.resolve();
    return s;
}

void ModelConfig::resolve() {
    const MixerEntry& entry = find_mixer(mixer);
    find_backbone(backbone);
    in_range("d_model", d_model, 1, 1 << 16);
    in_range("n_layer", n_layer, 1, 1024);
    in_range("vocab_size", vocab_size, 2, 65536);
    in_range("pad_vocab_size_multiple", pad_vocab_size_multiple, 1, 4096);
    in_range("d_conv", d_conv, 2, 8);
    in_range("expand", expand, 1, 16);
    if (is_classifier()) in_range("classes", static_cast<int64_t>(classes.size()), 2, 65535);
    for (const std::string& name : classes)
        if (name.empty() || std::count(classes.begin(), classes.end(), name) != 1)
            fail("[model] classes: \"{}\" is {}", name, name.empty() ? "no name" : "there twice");
    if (backbone == "unet") return resolve_stages();
    if (!stage_pools.empty() || !expand_width.empty() || !stage_mixers.empty())
        fail("[model] {}: belongs to backbone unet, not to {}",
             !stage_pools.empty() ? "stage_pools" : !expand_width.empty() ? "expand_width" : "stage_mixers", backbone);
    if (d_state == 0) d_state = entry.default_d_state;
    in_range("d_state", d_state, 1, 256);
    if (entry.uses_heads) {
        if (headdim == 0) headdim = std::min<int64_t>(64, d_inner());
        in_range("headdim", headdim, 1, d_inner());
        if (d_inner() % headdim) fail("[model] headdim: {} does not divide d_inner {}", headdim, d_inner());
        in_range("ngroups", ngroups, 1, n_heads());
        if (n_heads() % ngroups) fail("[model] ngroups: {} does not divide the {} heads", ngroups, n_heads());
    } else {
        if (dt_rank == 0) dt_rank = ceil_div(d_model, 16);
        in_range("dt_rank", dt_rank, 1, d_inner());
    }
}

Json to_json(const ModelConfig& c) {
    const MixerEntry& entry = find_mixer(c.mixer);
    const bool unet = c.backbone == "unet";
    Json ssm = {{"layer", entry.layer_name}, {"d_state", c.d_state}, {"d_conv", c.d_conv}, {"expand", c.expand},
                {"conv_bias", c.conv_bias}, {"dt_min", c.dt_min}, {"dt_max", c.dt_max},
                {"dt_init_floor", c.dt_init_floor}};
    if (entry.uses_heads || (unet && c.headdim > 0)) {
        ssm["headdim"] = c.headdim;
        ssm["ngroups"] = c.ngroups;
    }
    if (!entry.uses_heads || (unet && c.dt_rank > 0)) ssm["dt_rank"] = c.dt_rank;
    // Written only where it differs: the reference implementation has no such field and must refuse, not ignore it.
    if (c.discretization == Discretization::zoh) ssm["discretization"] = "zoh";
    Json json = {{"d_model", c.d_model}, {"d_intermediate", 0}, {"n_layer", c.n_layer}, {"vocab_size", c.vocab_size},
                 {"ssm_cfg", ssm}, {"attn_layer_idx", Json::array()}, {"attn_cfg", Json::object()},
                 {"rms_norm", true}, {"residual_in_fp32", true}, {"fused_add_norm", true},
                 {"pad_vocab_size_multiple", c.pad_vocab_size_multiple}, {"tie_embeddings", c.tie_embeddings}};
    if (c.backbone != "flat") json["backbone"] = c.backbone;
    if (c.is_classifier()) {
        json["classes"] = c.classes;
        json["pool"] = name_of(c.pool);
    }
    if (!unet) return json;
    json["stage_pools"] = c.stage_pools;
    json["expand_width"] = c.expand_width;
    json["stage_layers"] = Json::array();
    for (const std::string& name : c.stage_mixers) json["stage_layers"].push_back(find_mixer(name).layer_name);
    return json;
}

ModelConfig model_config_from_json(const Json& json, const std::string& source) {
    ModelConfig c;
    Json ssm = Json::object();
    Reader top(json, source);
    top.get("d_model", c.d_model);
    top.get("n_layer", c.n_layer);
    top.get("vocab_size", c.vocab_size);
    top.get("pad_vocab_size_multiple", c.pad_vocab_size_multiple);
    top.get("tie_embeddings", c.tie_embeddings);
    top.get("backbone", c.backbone);
    top.get("stage_pools", c.stage_pools);
    top.get("expand_width", c.expand_width);
    std::vector<std::string> stage_layers;
    top.get("stage_layers", stage_layers);
    for (const std::string& name : stage_layers) c.stage_mixers.push_back(mixer_of_layer(name, source + ": stage_layers"));
    top.get("ssm_cfg", ssm);
    top.get("classes", c.classes);
    std::string pool = name_of(c.pool);
    top.get("pool", pool);
    c.pool = pool_kind_of(pool, source);
    top.only("d_intermediate", 0);
    top.only("attn_layer_idx", Json::array());
    top.only("attn_cfg", Json::object());
    top.only("rms_norm", true);
    top.only("residual_in_fp32", true);
    // Only says which kernel computes it.
    bool fused = true;
    top.get("fused_add_norm", fused);
    top.done();

    Reader s(ssm, source + ": ssm_cfg");
    std::string layer = "Mamba1", discretization = "euler";
    s.get("layer", layer);
    c.mixer = mixer_of_layer(layer, source + ": ssm_cfg.layer");
    s.get("d_state", c.d_state);
    s.get("d_conv", c.d_conv);
    s.get("expand", c.expand);
    s.get("conv_bias", c.conv_bias);
    s.get("dt_min", c.dt_min);
    s.get("dt_max", c.dt_max);
    s.get("dt_init_floor", c.dt_init_floor);
    s.get("headdim", c.headdim);
    s.get("ngroups", c.ngroups);
    if (ssm.contains("dt_rank") && ssm["dt_rank"] == "auto") ssm.erase("dt_rank");
    s.get("dt_rank", c.dt_rank);
    s.get("discretization", discretization);
    s.only("bias", false);
    // Says how the reference implementation cuts its kernels; changes no result.
    int64_t chunk = 0;
    s.get("chunk_size", chunk);
    s.done();
    if (discretization != "euler" && discretization != "zoh")
        fail("{}: ssm_cfg: \"discretization\" is \"{}\", expected euler or zoh", source, discretization);
    c.discretization = discretization == "zoh" ? Discretization::zoh : Discretization::euler;
    c.resolve();
    return c;
}

}  // namespace adder
