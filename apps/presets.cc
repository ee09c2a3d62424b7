#include "apps/presets.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "model/published.h"
#include "pipelines/domain.h"

namespace adder {

namespace {

// Architecture and training of a model of Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective
// State Spaces", 2023, sections 4.4 and E.4: 200,000 steps at a peak rate of 2e-3 after a tenth of them.
// Speech commands of a second (sc09) are 16,000 samples long, 16 at a time, with gradients clipped at 0.1;
// the lengths and batches of piano (youtubemix) are a row of table 14. Samples are those of SaShiMi (Goel et
// al. 2022): 16 kHz, each clip scaled to its own range, mu-law.
nlohmann::json preset(const std::string& name) {
    const ModelConfig c = find_published_model(name).config(256);
    nlohmann::json options = {
        {"domain", "audio"},
        {"rate", 16000},
        {"level", "clip-minmax"},
        {"codec", "mulaw"},
        {"mixer", c.mixer},
        {"backbone", c.backbone},
        {"d-model", c.d_model},
        {"layers", c.n_layer},
        {"pool", fmt::format("{}", fmt::join(c.stage_pools, ","))},
        {"dt-rank", c.dt_rank},
        {"untied-head", !c.tie_embeddings},
        {"steps", 200'000},
        {"lr", 2e-3},
        {"warmup", 0.1},
        {"weight-decay", 0.1},
        {"beta1", 0.9},
        {"beta2", 0.95},
    };
    if (name == "youtubemix")
        options.update({{"length", 120'832}, {"batch", 8}});
    else
        options.update({{"length", 16'000}, {"batch", 16}, {"clip", 0.1}});
    return options;
}

}  // namespace

void apply_defaults(cli::TrainOptions& o, OptionList& list, const std::set<std::string>& given) {
    std::set<std::string> set = given;
    if (!o.preset.empty()) {
        nlohmann::json options = preset(o.preset);
        if (given.count("domain") && o.data.domain != options["domain"])
            throw UsageError(fmt::format("--preset {}: of --domain audio, not of {}", o.preset, o.data.domain));
        apply_json(list, options, given, "--preset " + o.preset);
        // A part that was replaced takes along what means something in it alone.
        for (const auto& [option, value] : options.items())
            if (const Option& own = *list.find(option); !given.count(option) && !applies(own, o.model.in_use()))
                set_from_json(own, nullptr, o.preset);
        for (const auto& [option, value] : options.items()) set.insert(option);
    }
    const Domain& domain = o.data.domain.empty() ? *domains().front() : find_domain(o.data.domain);
    apply_json(list, domain.defaults(), set, "defaults");
}

}  // namespace adder
