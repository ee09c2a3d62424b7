#include "model/registry.h"

#include "core/error.h"
#include "model/mixers/mamba1.h"
#include "model/mixers/mamba2.h"
#include "model/stack.h"
#include "model/unet.h"

namespace adder {

namespace {

constexpr MixerEntry kMixers[] = {
    {"mamba1", "Mamba1", 16, false, make_mamba1},
    {"mamba2", "Mamba2", 128, true, make_mamba2},
};

constexpr BackboneEntry kBackbones[] = {
    {"flat", make_stack},
    {"unet", make_unet},
};

template <class Table, class Key>
const auto& find(const Table& table, const std::string& key, Key key_of, const std::string& what) {
    std::string known;
    for (const auto& entry : table) {
        if (key == key_of(entry)) return entry;
        known += (known.empty() ? "" : ", ") + std::string(key_of(entry));
    }
    fail("{}: unknown name \"{}\"; known: {}", what, key, known);
}

}  // namespace

std::span<const MixerEntry> mixers() { return kMixers; }
std::span<const BackboneEntry> backbones() { return kBackbones; }

const MixerEntry& find_mixer(const std::string& name) {
    return find(kMixers, name, [](const MixerEntry& e) { return e.name; }, "[model] mixer");
}

const BackboneEntry& find_backbone(const std::string& name) {
    return find(kBackbones, name, [](const BackboneEntry& e) { return e.name; }, "[model] backbone");
}

std::string mixer_of_layer(const std::string& layer_name, const std::string& source) {
    return find(kMixers, layer_name, [](const MixerEntry& e) { return e.layer_name; }, source).name;
}

}  // namespace adder
