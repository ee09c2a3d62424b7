#include "apps/embed_options.h"

#include <charconv>

#include "core/error.h"

namespace adder::cli {

namespace {
std::optional<int64_t> number(const std::string& text) {
    int64_t n = -1;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    return error == std::errc() && stop == text.data() + text.size() && n >= 0 ? std::optional(n)
                                                                               : std::nullopt;
}
}  // namespace

OptionList EmbedOptions::list() {
    OptionList l;
    checkpoint.add_to(l, true);
    data.add_input_to(l);
    l.add({.name = "out",
           .value = &out,
           .unit = "FILE.h5",
           .help = "HDF5 file to write",
           .required = true,
           .is_path = true});
    l.add({.name = "pool",
           .value = &pool,
           .unit = "mean|last|max|none",
           .help = "over the positions of a sequence or region; none: a row for each position"});
    l.add({.name = "regions",
           .value = &regions,
           .unit = "BED",
           .help = "embed these regions of the input; each sees all of its sequence before it",
           .is_path = true});
    l.add({.name = "layer",
           .value = &layer,
           .unit = "LAYER",
           .help = "a number K: the residual stream after block K (0: the embedded tokens); all: after every "
                   "block but the last, then "
                   "the default",
           .derived = "the last layer after the final norm"});
    l.add({.name = "rc",
           .value = &rc,
           .unit = "mean|concat",
           .help = "also read the other strand; mean of both, or both side by side (a '-' region's own "
                   "strand first)",
           .derived = "the forward strand alone"});
    data.add_reading_to(l);
    l.add({.name = "tile",
           .value = &tile,
           .unit = "T",
           .help = "tokens a tile: of the memory, all but a byte a base or sample",
           .range = between(1, 1 << 24),
           .derived = "4096 on the CPU, more on a GPU"});
    l.add({.name = "overwrite", .value = &overwrite, .help = "replace the file of --out"});
    machine.add_dtype_to(l);
    machine.add_to(l);
    return l;
}

void EmbedOptions::check() const {
    if (!layer.empty() && layer != "all" && !number(layer))
        throw UsageError(fmt::format("--layer: expected a number or all, got '{}'", layer));
}

EmbedderOutputs EmbedOptions::outputs(int64_t blocks) const {
    EmbedderOutputs o;
    if (layer.empty()) return o;
    if (blocks == 0)
        fail("--layer: the backbone of this model shows only its last layer; hint: leave --layer out");
    if (layer == "all") {
        for (int64_t k = 1; k < blocks; ++k) o.streams.push_back(k);
        return o;
    }
    const int64_t k = number(layer).value();
    if (k > blocks) fail("--layer: the model has layers 0 to {}, got {}", blocks, k);
    o.streams = {k};
    o.normed = false;
    return o;
}

}  // namespace adder::cli
