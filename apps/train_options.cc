#include "apps/train_options.h"

#include <algorithm>
#include <charconv>

#include "core/ceil_div.h"
#include "core/error.h"
#include "model/config.h"
#include "model/registry.h"
#include "pipelines/domain.h"
#include "train/schedule.h"

namespace adder::cli {

namespace {

// Tokens of a batch: beyond any machine, and small enough that no size computed from it overflows.
constexpr int64_t kLongest = int64_t{1} << 42;

// "UNTIL:L" of a length warm-up.
LengthStage parse_stage(std::string_view text) {
    LengthStage stage;
    const char* end = text.data() + text.size();
    const auto until = std::from_chars(text.data(), end, stage.until_step);
    const bool colon = until.ec == std::errc() && until.ptr != end && *until.ptr == ':';
    const auto length = std::from_chars(colon ? until.ptr + 1 : end, end, stage.L);
    if (!colon || length.ec != std::errc() || length.ptr != end || stage.L < 1)
        throw UsageError(fmt::format("--length-warmup: expected UNTIL:L, such as 100:512, got '{}'", text));
    return stage;
}

// What a domain sets by itself: "1024 for dna, 8192 for audio".
std::string by_domain(const char* option) {
    std::string text;
    for (const Domain* d : domains())
        text += fmt::format("{}{} for {}", text.empty() ? "" : ", ", d->defaults().at(option).dump(), d->name);
    return text;
}

// The mixers that have heads, or those that have none.
OptionScope of_mixers(bool heads) {
    OptionScope scope{"mixer", {}};
    for (const MixerEntry& m : mixers())
        if (m.uses_heads == heads) scope.values.push_back(m.name);
    return scope;
}

}  // namespace

void ModelOptions::add_to(OptionList& list) {
    const OptionScope unet{"backbone", {"unet"}}, heads = of_mixers(true), no_heads = of_mixers(false);
    list.add({.name = "mixer", .value = &mixer, .unit = "mamba1|mamba2", .help = "the sequence mixer"});
    list.add({.name = "d-model", .value = &d_model, .unit = "M", .help = "width of the residual stream",
              .range = between(1, 65536)});
    list.add({.name = "layers", .value = &layers, .unit = "N",
              .help = "blocks; of a U-Net, of each way through a stage: N down, N up, N in the innermost",
              .range = between(1, 1024)});
    list.add({.name = "backbone", .value = &backbone, .unit = "flat|unet",
              .help = "blocks at one rate, or a U-Net whose stages run at falling rates"});
    list.add({.name = "pool", .value = &pool, .unit = "P,P",
              .help = "U-Net: steps that become one between neighbouring stages; --length and --tile are multiples of their "
                      "product",
              .derived = "4,4", .scopes = {unet}});
    list.add({.name = "expand-width", .value = &expand_width, .unit = "E,E",
              .help = "U-Net: how much wider the next stage is, one number for all or one a pool", .derived = "2", .scopes = {unet}});
    list.add({.name = "stage-mixers", .value = &stage_mixers, .unit = "A,B,C",
              .help = "U-Net: a mixer for each stage, the outermost first", .derived = "--mixer in all", .scopes = {unet}});
    list.add({.name = "d-state", .value = &d_state, .unit = "N", .help = "states a channel",
              .range = between(1, 256), .derived = "16 for mamba1, 128 for mamba2"});
    list.add({.name = "expand", .value = &expand, .unit = "E", .help = "inner channels a model channel",
              .range = between(1, 16)});
    list.add({.name = "d-conv", .value = &d_conv, .unit = "K", .help = "taps of the causal convolution",
              .range = between(2, 8)});
    list.add({.name = "headdim", .value = &headdim, .unit = "P", .help = "channels a head (mamba2)",
              .range = at_least(1), .derived = "64, or the inner channels where they are fewer", .scopes = {heads}});
    list.add({.name = "ngroups", .value = &ngroups, .unit = "G", .help = "groups of B and C (mamba2)",
              .range = at_least(1), .scopes = {heads}});
    list.add({.name = "dt-rank", .value = &dt_rank, .unit = "R", .help = "rank of the step-size projection (mamba1)",
              .range = at_least(1), .derived = "M/16, rounded up", .scopes = {no_heads}});
    list.add({.name = "discretization", .value = &discretization, .unit = "euler|zoh",
              .help = "of B: dt B as in state-spaces/mamba, or the exact zero-order hold"});
    list.add({.name = "untied-head", .value = &untied_head, .help = "predict with weights of their own, not with the embedding's"});
    list.add({.name = "init", .value = &init, .unit = "CHECKPOINT", .help = "start from these weights; the model is that of the checkpoint",
              .is_path = true});
}

std::vector<std::string> ModelOptions::items(const std::string& list) {
    std::vector<std::string> all;
    for (size_t at = 0; !list.empty() && at <= list.size();) {
        const size_t comma = std::min(list.find(',', at), list.size());
        all.push_back(list.substr(at, comma - at));
        at = comma + 1;
    }
    return all;
}

std::vector<int64_t> ModelOptions::numbers(const char* option, const std::string& list) {
    std::vector<int64_t> all;
    for (const std::string& item : items(list)) {
        int64_t n = 0;
        const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), n);
        if (error != std::errc() || end != item.data() + item.size() || n < 1)
            throw UsageError(fmt::format("--{}: expected positive numbers such as 4,4, got '{}'", option, list));
        all.push_back(n);
    }
    return all;
}

std::vector<int64_t> ModelOptions::pools() const {
    const std::vector<int64_t> given = numbers("pool", pool);
    return given.empty() ? ModelConfig::default_pools() : given;
}

int64_t ModelOptions::stride() const {
    if (backbone != "unet") return 1;
    int64_t stride = 1;
    // Beyond the largest length none is a multiple anyway.
    for (const int64_t p : pools())
        if (stride <= kLongest / p) stride *= p;
    return stride;
}

// One factor of the width a pool, one mixer a stage, and one stage more than pools.
void ModelOptions::check_stages() const {
    const std::vector<std::string> mixers = items(stage_mixers);
    const size_t n_pools = pools().size(), stages = n_pools + 1,
                 n_widths = numbers("expand-width", expand_width).size();
    if (n_widths > 1 && n_widths != n_pools)
        throw UsageError(fmt::format(
            "--expand-width: {} numbers for {} pools; hint: one for all, or one for each of --pool", n_widths,
            n_pools));
    if (!mixers.empty() && mixers.size() != stages)
        throw UsageError(fmt::format("--stage-mixers: {} mixers for {} stages; hint: one a stage, which are one more than --pool",
                                     mixers.size(), stages));
    for (const std::string& name : mixers) {
        try {
            find_mixer(name);
        } catch (const Error& e) {
            throw UsageError(fmt::format("--stage-mixers: {}", e.what()));
        }
    }
}

void ModelOptions::check() const {
    numbers("pool", pool);
    numbers("expand-width", expand_width);
    if (backbone == "unet") check_stages();
}

InUse ModelOptions::in_use() const {
    std::set<std::string> mixers = {mixer};
    if (const std::vector<std::string> stages = items(stage_mixers); backbone == "unet" && !stages.empty())
        mixers = {stages.begin(), stages.end()};
    return {{"backbone", {backbone}}, {"mixer", {mixers.begin(), mixers.end()}}};
}

void TileOptions::add_to(OptionList& list) {
    list.add({.name = "length", .value = &length, .unit = "L", .help = "tokens a sequence",
              .range = between(1, kLongest), .derived = by_domain("length")});
    list.add({.name = "batch", .value = &batch, .unit = "B", .help = "sequences a micro-batch",
              .range = between(1, 1 << 20), .derived = by_domain("batch")});
    list.add({.name = "accumulation", .value = &accumulation, .unit = "N", .help = "micro-batches a step",
              .range = between(1, 1 << 20)});
    list.add({.name = "length-warmup", .value = &length_warmup, .unit = "UNTIL:L,...",
              .help = "shorter sequences first: up to step UNTIL of length L, with as many tokens a step",
              .derived = "none"});
    list.add({.name = "tile", .value = &tile, .unit = "T",
              .help = "tokens a tile; memory does not grow with the length beyond it", .range = between(1, kLongest),
              .derived = "the largest that fits into --memory"});
    list.add({.name = "keep", .value = &keep, .unit = "K",
              .help = "last tiles that backward need not recompute; changes no bit of a result",
              .range = at_least(0), .on_resume = OnResume::any, .derived = "1 with --tile, else what fits"});
    list.add({.name = "memory", .value = &memory, .unit = "BYTES", .help = "memory to plan for, such as 8GB or 512MiB",
              .on_resume = OnResume::any, .derived = "90 % of what is free on a GPU, half of the machine's on the CPU"});
}

std::vector<LengthStage> TileOptions::stages() const {
    std::vector<LengthStage> warmup;
    std::string_view rest = length_warmup;
    while (!length_warmup.empty()) {
        const size_t comma = rest.find(',');
        warmup.push_back(parse_stage(rest.substr(0, comma)));
        if (comma == std::string_view::npos) break;
        rest.remove_prefix(comma + 1);
    }
    if (length > kLongest / batch)
        throw UsageError(fmt::format("--length: {} times a --batch of {} is more than {} tokens", length, batch, kLongest));
    try {
        return length_stages(warmup, length, batch);
    } catch (const Error& e) {
        throw UsageError(fmt::format("--length-warmup: {}", e.what()));
    }
}

void OptimizerOptions::add_to(OptionList& list) {
    list.add({.name = "steps", .value = &steps, .unit = "S",
              .help = "steps of the whole run; may grow on resume; 0 saves the initial model", .range = at_least(0), .on_resume = OnResume::grow});
    list.add({.name = "lr", .value = &lr, .unit = "X", .help = "peak learning rate", .range = above(0)});
    list.add({.name = "warmup", .value = &warmup, .unit = "F", .help = "part of the steps with a rising rate",
              .range = between(0, 1)});
    list.add({.name = "lr-final", .value = &lr_final, .unit = "F",
              .help = "rate at the end of the cosine, as a part of the peak", .range = between(0, 1)});
    list.add({.name = "beta1", .value = &beta1, .unit = "X", .help = "AdamW's decay of the mean gradient",
              .range = {.low = 0, .high = 1, .high_excluded = true}});
    list.add({.name = "beta2", .value = &beta2, .unit = "X", .help = "AdamW's decay of the squared gradient",
              .range = {.low = 0, .high = 1, .high_excluded = true}});
    list.add({.name = "eps", .value = &eps, .unit = "X", .help = "AdamW's floor of the denominator",
              .range = above(0)});
    list.add({.name = "weight-decay", .value = &weight_decay, .unit = "X",
              .help = "decoupled; not for norms, biases, A and D", .range = at_least(0)});
    list.add({.name = "clip", .value = &clip, .unit = "X", .help = "largest norm of the gradient; 0 for none",
              .range = at_least(0)});
    list.add({.name = "seed", .value = &seed, .unit = "K", .help = "of initial weights and of the order of the data",
              .range = at_least(0)});
}

void TrainOptions::add_groups(OptionList& list) {
    list.add({.name = "domain", .value = &data.domain, .unit = "dna|audio", .help = "the kind of data", .required = true});
    list.add({.name = "preset", .value = &preset, .unit = "sc09|sc09-large|youtubemix",
              .help = "model and training of a published raw-audio model; other options that are given replace parts of it"});
    data.add_input_to(list);
    data.add_split_to(list);
    data.add_model_to(list);
    data.add_reading_to(list);
    model.add_to(list);
    tiles.add_to(list);
    optimizer.add_to(list);
    machine.add_dtype_to(list);
    list.add({.name = "eval-every", .value = &eval_every, .unit = "K",
              .help = "steps between evaluations of held-out data; 0 for none but the last", .range = at_least(0),
              .derived = "a tenth of the steps"});
}

OptionList TrainOptions::list() {
    OptionList l;
    add_groups(l);
    l.add({.name = "out", .value = &out, .unit = "DIR", .help = "folder of the run: checkpoints, metrics, options",
           .on_resume = OnResume::any, .required = true, .is_path = true});
    l.add({.name = "save-every", .value = &save_every, .unit = "K", .help = "steps between checkpoints",
           .range = at_least(1), .on_resume = OnResume::any, .derived = "every 10 minutes and at the end"});
    l.add({.name = "stop-after", .value = &stop_after, .unit = "K", .help = "end after step K of the S",
           .range = at_least(1), .on_resume = OnResume::any, .derived = "after the last"});
    l.add({.name = "resume", .value = &resume, .help = "go on from the last checkpoint in --out",
           .on_resume = OnResume::any});
    l.add({.name = "overwrite", .value = &overwrite, .help = "replace the run in --out", .on_resume = OnResume::any});
    l.add({.name = "profile", .value = &profile, .help = "print where the time of a step goes",
           .on_resume = OnResume::any});
    machine.add_to(l);
    for (const char* name : {"domain", "input"}) l.find(name)->derived = "without --resume";
    return l;
}

OptionList TrainOptions::plan_list() {
    OptionList l;
    add_groups(l);
    machine.add_to(l);
    // A plan reads no data.
    for (const char* name : {"domain", "input"}) l.find(name)->required = false;
    l.find("domain")->derived = "dna, or that of --preset or --init";
    return l;
}

// The command line alone tells, before any data is read.
void TrainOptions::check_lengths() const {
    const int64_t stride = model.stride();
    for (const LengthStage& s : tiles.stages())
        if (s.L % stride != 0)
            throw UsageError(
                fmt::format("--length: this model's pools need multiples of {}, got {}; hint: {}", stride,
                            s.L, ceil_div(s.L, stride) * stride));
}

void TrainOptions::resolve() {
    data.check();
    tiles.stages();
    model.check();
    if (!resume) check_lengths();
    if (resume && overwrite) throw UsageError("--resume and --overwrite exclude each other");
    if (!eval_every) eval_every = std::max<int64_t>(1, optimizer.steps / 10);
}

void TrainOptions::check_scopes(const OptionList& list, const std::set<std::string>& chosen) const {
    InUse in_use = data.in_use();
    in_use.merge(model.in_use());
    adder::check_scopes(list, chosen, in_use);
}

}  // namespace adder::cli
