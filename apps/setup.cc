#include "apps/setup.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/output_file.h"
#include "core/bytes_text.h"
#include "core/ceil_div.h"
#include "train/checkpoint.h"

namespace adder {

namespace {

bool anything_scored(const Dataset& data) {
    Batch batch(1, 4096);
    const BatchRow row = row_of(batch, 0);
    for (const Segment& s : data.train) {
        const Member member = member_of(data.records, s);
        const int64_t n = n_positions(*data.tokenizer, member);
        for (int64_t first = 0; first < n; first += batch.L) {
            const int64_t count = std::min(batch.L, n - first);
            write_piece(*data.tokenizer, member, {first, count, first == 0, false}, row);
            if (std::any_of(row.weights, row.weights + count, [](float w) { return w > 0; })) return true;
        }
    }
    return false;
}

}  // namespace

void report(Console& console, const Dataset& data, const OptionList& command) {
    check_was_not_read(command, data.inputs);
    for (const std::string& line : data.report) console.line(line);
    for (const std::string& line : data.warnings) console.line("warning: " + line);
}

Dataset load_training_data(const DataOptions& options, const Domain& domain, Console& console, const OptionList& command) {
    Dataset data = domain.load(options);
    report(console, data, command);
    if (data.records.empty()) fail("nothing to train on: no record of the input is kept");
    if (data.train.empty()) fail("nothing to train on: the train part is empty");
    if (!anything_scored(data))
        fail("nothing to train on: no {} that counts has another one before it", data.tokenizer->token());
    return data;
}

ModelConfig model_config(const cli::ModelOptions& o, int64_t vocabulary) {
    ModelConfig c;
    c.mixer = o.mixer;
    c.d_model = o.d_model;
    c.n_layer = o.layers;
    c.backbone = o.backbone;
    c.stage_pools = cli::ModelOptions::numbers("pool", o.pool);
    c.expand_width = cli::ModelOptions::numbers("expand-width", o.expand_width);
    c.stage_mixers = cli::ModelOptions::items(o.stage_mixers);
    c.vocab_size = vocabulary;
    c.d_state = o.d_state.value_or(0);
    c.headdim = o.headdim.value_or(0);
    c.dt_rank = o.dt_rank.value_or(0);
    c.expand = o.expand;
    c.d_conv = o.d_conv;
    c.ngroups = o.ngroups;
    c.discretization = o.discretization == "zoh" ? Discretization::zoh : Discretization::euler;
    c.tie_embeddings = !o.untied_head;
    c.resolve();
    return c;
}

void set_resolved(cli::ModelOptions& o, const ModelConfig& c) {
    if (c.d_state > 0) o.d_state = c.d_state;
    if (c.headdim > 0) o.headdim = c.headdim;
    if (c.dt_rank > 0) o.dt_rank = c.dt_rank;
    o.mixer = c.mixer;
    o.pool = fmt::format("{}", fmt::join(c.stage_pools, ","));
    o.expand_width = fmt::format("{}", fmt::join(c.expand_width, ","));
    o.stage_mixers = fmt::format("{}", fmt::join(c.stage_mixers, ","));
}

namespace {

// Rows and tiles of a model with pools begin with whole groups.
void check_stride(const LanguageModel& model, const cli::TileOptions& o, const std::vector<LengthStage>& stages) {
    const int64_t stride = model.backbone().stride();
    for (const LengthStage& s : stages)
        if (s.L % stride != 0)
            throw UsageError(fmt::format("--length: this model's pools need multiples of {}, got {}; hint: {}", stride, s.L,
                                         ceil_div(s.L, stride) * stride));
    if (o.tile && *o.tile < o.length && *o.tile % stride != 0)
        throw UsageError(fmt::format("--tile: this model's pools need multiples of {}, got {}; hint: {}", stride, *o.tile,
                                     whole_tile(model, *o.tile)));
}

int64_t memory_of(const Compute& compute, const cli::TileOptions& o) {
    return o.memory ? o.memory->count : default_memory_bytes(compute.device);
}

// Of a batch of B sequences of L tokens. `tile`: 0 = open.
TileOptions tiles_of(const LanguageModel& model, const cli::TileOptions& o, const LengthStage& stage,
                     int64_t tile) {
    TileOptions tiles{stage.B, stage.L, 0, o.keep.value_or(o.tile ? 1 : -1), o.evaluates, o.evaluation_bytes};
    if (tile > 0) tiles.T = whole_tile(model, tile * o.batch / stage.B);
    return tiles;
}

}  // namespace

std::vector<MemoryPlan> stage_plans(LanguageModel& model, const Compute& compute, const cli::TileOptions& o, int64_t tile) {
    const int64_t memory = memory_of(compute, o);
    std::vector<MemoryPlan> plans;
    const std::vector<LengthStage> stages = o.stages();
    check_stride(model, o, stages);
    for (size_t i = stages.size(); i-- > 0;) {
        TileOptions tiles = tiles_of(model, o, stages[i], tile);
        tiles.T = std::min(tiles.T, stages[i].L);
        try {
            plans.insert(plans.begin(), choose_tiles(model, compute, tiles, memory));
        } catch (const OutOfMemory& e) {
            if (o.memory || compute.device == Device::cpu) throw;
            fail<OutOfMemory>("{}{}", e.what(), others_text(gpu_room()));
        }
        // The last stage decides; an earlier one of shorter sequences would otherwise choose for itself.
        tile = plans.back().tiles.T;
    }
    return plans;
}

LargestPlans largest_plans_of(LanguageModel& model, const Compute& compute, const cli::TileOptions& o) {
    const LengthStage last = o.stages().back();
    return largest_plans(model, compute, tiles_of(model, o, last, o.tile.value_or(0)), memory_of(compute, o));
}

std::vector<MemoryPlan> resumed_plans(LanguageModel& model, const Compute& compute, const cli::TileOptions& o,
                                      int64_t recorded_tile) {
    try {
        return stage_plans(model, compute, o, o.tile.value_or(recorded_tile));
    } catch (const OutOfMemory&) {
        if (o.tile || recorded_tile == 0) throw;
    }
    return stage_plans(model, compute, o, 0);
}

void require_room(LanguageModel& model, const Compute& compute, const std::vector<MemoryPlan>& plans) {
    if (compute.device == Device::cpu) return;
    const GpuRoom room = gpu_room();
    for (const MemoryPlan& p : plans)
        // The context is there already.
        if (p.total_bytes() - p.context_bytes > room.free_bytes)
            fail<OutOfMemory>("out of GPU memory: training needs {}; {}; {} without --memory, --tile and --keep",
                              p.need_text(), text_of(room), what_fits(model, compute, p.tiles, usable_bytes(room.free_bytes)));
}

std::string plan_text(const LanguageModel& model, const std::vector<MemoryPlan>& plans, int64_t accumulation) {
    const ModelConfig& c = model.config();
    const MemoryPlan& p = plans.back();
    std::string text = fmt::format(
        "model    {} d_model {} layers {} d_state {}, {} parameters\n", c.mixer, c.d_model, c.n_layer, c.d_state,
        p.parameters);
    if (c.backbone == "unet") {
        text += "stages  ";
        for (int64_t i = 0; i < c.n_stages(); ++i)
            text += fmt::format(" {} of width {} ({} blocks)", c.stage(i).mixer, c.stage(i).d_model, c.stage(i).n_layer) +
                    (i + 1 < c.n_stages() ? fmt::format(", pool {},", c.stage_pools[static_cast<size_t>(i)]) : "");
        text += "\n";
    }
    for (const MemoryPlan& s : plans)
        text += fmt::format("step     {} x {} x {} tokens, {} tile{} of {}, {} kept, {:.3g} GFLOP\n", accumulation,
                            s.tiles.B, s.tiles.L, s.n_tiles, s.n_tiles == 1 ? "" : "s", s.tiles.T,
                            s.tiles.keep,
                            1e-9 * static_cast<double>(accumulation) * s.step_flops);
    const MemoryPlan& largest = most_memory(plans);
    text += fmt::format("memory   {}:", bytes_text(largest.total_bytes()));
    const char* separator = " ";
    for (const MemoryPlan::Part& part : largest.parts()) {
        if (part.bytes == 0) continue;
        text += fmt::format("{}{} {}", separator, part.text, bytes_text(part.bytes));
        separator = ", ";
    }
    return text;
}

// Checkpoints of other programs carry no run.json; their vocabulary says nothing about letters, DNA is assumed.
DataOptions data_options_of(const std::string& checkpoint) {
    DataOptions data;
    data.domain = "dna";
    std::error_code ignored;
    if (!std::filesystem::exists(checkpoint + "/run.json", ignored)) return data;
    const nlohmann::json run = load_run(checkpoint);
    const nlohmann::json& options = run.at("options");
    data.domain = options.value("domain", data.domain);
    data.classes = run.value("data", nlohmann::json::object()).value("classes", data.classes);
    OptionList list;
    data.add_model_to(list);
    for (const Option& o : list.all())
        // Older runs have fewer of these.
        if (options.contains(o.name)) set_from_json(o, options.at(o.name), checkpoint + "/run.json");
    return data;
}

LoadedModel::LoadedModel(const std::string& path, bool best, const Compute& compute)
    : checkpoint(find_checkpoint(path, best)), model(load_config(checkpoint)),
      params([this](ParamVisitor& v) { model.visit(v); }, compute.storage, false, compute.device),
      data(data_options_of(checkpoint)), domain(find_domain(data.domain)), tokenizer(domain.make_tokenizer(data)) {
    if (model.config().vocab_size < tokenizer->vocabulary())
        fail("{}: a vocabulary of {} is too small for {}, which has {}", checkpoint, model.config().vocab_size,
             domain.name, tokenizer->vocabulary());
    load_parameters(checkpoint, model, params);
}

void LoadedModel::require_language_model() const {
    if (model.member_head())
        fail("{}: a classifier of {} classes, not a model of sequences; hint: `adder predict` uses it", checkpoint,
             model.member_head()->classes());
}

void LoadedModel::require_classifier() const {
    if (!model.member_head())
        fail("{}: a model of sequences without classes; hint: `adder finetune --checkpoint {} ...` gives it some", checkpoint,
             checkpoint);
}

DataOptions with_model_options(DataOptions own, const DataOptions& model, const std::string& source) {
    DataOptions given = model;
    OptionList from, to;
    given.add_model_to(from);
    own.add_model_to(to);
    apply_json(to, to_json(from), {}, source);
    own.domain = model.domain;
    own.classes = model.classes;
    return own;
}

void add_model_options(nlohmann::json& options, const DataOptions& model) {
    DataOptions given = model;
    OptionList list;
    given.add_model_to(list);
    options["domain"] = model.domain;
    for (const Option& o : list.all())
        if (!options.contains(o.name)) options[o.name] = to_json(o);
}

nlohmann::json own_options(nlohmann::json stored, OptionList& list) {
    DataOptions any;
    OptionList model;
    any.add_model_to(model);
    for (const std::string& name : model.names())
        if (!list.find(name)) stored.erase(name);
    if (!list.find("domain")) stored.erase("domain");
    return stored;
}

DataOptions LoadedModel::reading(DataOptions own) const { return with_model_options(std::move(own), data, checkpoint); }

}  // namespace adder
