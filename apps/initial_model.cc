#include "apps/initial_model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/setup.h"
#include "core/error.h"
#include "train/checkpoint.h"

namespace adder {

namespace {

cli::ModelOptions options_of(const ModelConfig& c) {
    cli::ModelOptions o;
    o.d_model = c.d_model;
    o.layers = c.n_layer;
    o.backbone = c.backbone;
    o.expand = c.expand;
    o.d_conv = c.d_conv;
    o.ngroups = c.ngroups;
    o.discretization = c.discretization == Discretization::zoh ? "zoh" : "euler";
    o.untied_head = !c.tie_embeddings;
    set_resolved(o, c);
    return o;
}

// The model of the checkpoint with one option as it was given: the same where that says the same in other
// words.
void check_given(const Option& own, const cli::ModelOptions& theirs, const ModelConfig& config,
                 const std::string& from) {
    cli::ModelOptions changed = theirs;
    OptionList list;
    changed.add_to(list);
    const Option* option = list.find(own.name);
    const nlohmann::json was = to_json(*option);
    set_from_json(*option, to_json(own), from);
    std::string reason;
    try {
        if (to_json(model_config(changed, config.vocab_size)) ==
            to_json(model_config(theirs, config.vocab_size)))
            return;
    } catch (const Error& e) {
        reason = fmt::format(" ({})", e.what());
    }
    fail("--{}: is {} in {}, got {}{}; hint: leave it out, --init takes the model of the checkpoint",
         own.name, was.dump(), from, to_json(own).dump(), reason);
}

// Weights belong to the tokens of the checkpoint: another tokenizer would give their ids another meaning.
void check_tokenizer(const cli::TrainOptions& o, OptionList& list, const std::set<std::string>& given,
                     const DataOptions& theirs, const std::string& from) {
    const std::string codec = theirs.audio.resolved().codec;
    if (theirs.domain == "audio" && given.count("codec") && o.data.audio.codec != codec)
        fail("--codec: the tokens of {} are of {}, got {}; hint: leave it out, --init takes those of the checkpoint",
             from, codec, o.data.audio.codec);
    if (theirs.domain != "dna") return;
    DataOptions own = theirs;
    if (given.count("tokenizer")) own.dna.tokenizer = o.data.dna.tokenizer;
    if (given.count("kmer")) own.dna.kmer = o.data.dna.kmer;
    const Domain& domain = find_domain(theirs.domain);
    const auto was = domain.make_tokenizer(theirs), now = domain.make_tokenizer(own);
    if (was->width() == now->width()) return;  // 1-mers are bases
    const bool kmer = own.dna.tokenizer == theirs.dna.tokenizer;
    fail("--{}: the tokens of {} are {}s, got {}; hint: leave it out, --init takes the tokenizer of the checkpoint",
         kmer ? "kmer" : "tokenizer", from, was->token(), to_json(*list.find(kmer ? "kmer" : "tokenizer")).dump());
}

// "a, b, c"
std::string list_of(const std::vector<std::string>& names) {
    constexpr size_t kShown = 12;
    if (names.empty()) return "none";
    const std::span<const std::string> first = std::span(names).first(std::min(names.size(), kShown));
    const size_t more = names.size() - first.size();
    return fmt::format("{}{}", fmt::join(first, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
}

void check_config(const std::string& checkpoint, const ModelConfig& config) {
    const nlohmann::json was = to_json(load_config(checkpoint)).flatten(), now = to_json(config).flatten();
    for (const auto* side : {&was, &now})
        for (const auto& [key, value] : side->items())
            if (const auto other = side == &was ? now : was; !other.contains(key) || other.at(key) != value)
                fail(
                    "--init {}: {} is {} there, {} here; hint: the tokens of the data and the options of the "
                    "model decide it",
                    checkpoint, key.substr(1), was.value(key, nlohmann::json()).dump(),
                    now.value(key, nlohmann::json()).dump());
}

}  // namespace

void apply_initial_model(cli::TrainOptions& o, OptionList& list, const std::set<std::string>& given) {
    if (o.model.init.empty()) return;
    const std::string from = find_checkpoint(o.model.init, false);
    const ModelConfig config = load_config(from);
    if (config.is_classifier())
        fail("--init {}: a classifier, not a model of sequences; hint: the model that it was made from",
             from);
    DataOptions data = data_options_of(from);
    if (!o.data.domain.empty() && o.data.domain != data.domain)
        fail("--init {}: a model of {}, not of {}", from, data.domain, o.data.domain);
    check_tokenizer(o, list, given, data, from);
    cli::ModelOptions theirs = options_of(config);
    OptionList taken, model;
    theirs.add_to(model);
    for (const Option& option : model.all()) {
        if (option.name == "init") continue;
        Option& own = *list.find(option.name);
        if (given.count(option.name))
            check_given(own, theirs, config, from);
        else
            set_from_json(own, to_json(option), from);
    }
    data.add_model_to(taken);
    for (const Option& option : taken.all())
        if (!given.count(option.name)) set_from_json(*list.find(option.name), to_json(option), from);
}

std::string check_initial_model(const std::string& checkpoint, const ModelConfig& config, const Dataset& data) {
    const DataOptions theirs = data_options_of(checkpoint);
    if (data.classes != theirs.classes)
        fail("--init {}: its classes are {}, the labels of the data are {}; hint: give data with the labels of the "
             "checkpoint, or train without --init",
             checkpoint, list_of(theirs.classes), list_of(data.classes));
    check_config(checkpoint, config);
    const int64_t rate = data.resolved.value("rate", int64_t{0}), was = theirs.audio.rate.value_or(rate);
    if (rate == was) return "";
    return fmt::format("warning: --init {}: its sounds have {} Hz, these {} Hz: what it learned of time does not fit",
                       checkpoint, was, rate);
}

}  // namespace adder
