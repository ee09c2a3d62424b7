// The two tables of layers: mixers (what a block contains) and backbones (how blocks are put together). A new one is a
// file and a line in registry.cc; the conformance tests loop over the tables.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "model/config.h"
#include "model/layer.h"

namespace adder {

struct MixerEntry {
    const char* name;        // "mamba2": on the command line
    const char* layer_name;  // "Mamba2": ssm_cfg.layer in config.json
    int64_t default_d_state;
    bool uses_heads;         // headdim and ngroups apply, dt_rank does not
    std::unique_ptr<Layer> (*make)(const ModelConfig&);
};

struct BackboneEntry {
    const char* name;
    std::unique_ptr<Layer> (*make)(const ModelConfig&);
};

std::span<const MixerEntry> mixers();
std::span<const BackboneEntry> backbones();

// Throw Error listing the known names.
const MixerEntry& find_mixer(const std::string& name);
const BackboneEntry& find_backbone(const std::string& name);
std::string mixer_of_layer(const std::string& layer_name, const std::string& source);

}  // namespace adder
