#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "core/json_text.h"
#include "io/file.h"
#include "io/safetensors.h"

namespace adder {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::json;

constexpr const char* kLayoutKey = "adder.layout";
constexpr int64_t kCounters = 7;  // integers of trainer.safetensors

std::vector<int64_t> dims(const Shape& shape) {
    return {shape.dim.begin(), shape.dim.begin() + shape.rank};
}

std::string text(const std::vector<int64_t>& shape) {
    std::string s = "(";
    for (size_t i = 0; i < shape.size(); ++i) s += (i ? "," : "") + std::to_string(shape[i]);
    return s + ")";
}

// Expected tensors of a file: names, types and shapes, with the memory they are written from or read into.
struct Item {
    SafetensorsWriter::Spec spec;
    TensorRef memory;
};

void write_items(const std::string& path, const std::vector<Item>& items) {
    std::vector<SafetensorsWriter::Spec> specs;
    for (const Item& item : items) specs.push_back(item.spec);
    AtomicFile file(path);
    SafetensorsWriter writer(file, specs, {{"format", "pt"}, {kLayoutKey, std::to_string(kCheckpointLayout)}});
    for (const Item& item : items) writer.write(item.spec.name, item.memory);
    writer.finish();
    file.commit();
}

void check_layout(const std::string& path, const std::string& layout) {
    if (layout == std::to_string(kCheckpointLayout)) return;
    fail("{}: checkpoint layout {}; this program reads layout {}; hint: use the version that wrote it", path, layout,
         kCheckpointLayout);
}

void check_layout(const SafetensorsReader& file) {
    const auto it = file.metadata().find(kLayoutKey);
    if (it != file.metadata().end()) check_layout(file.path(), it->second);
}

bool of_a_head(const std::string& name) { return name.starts_with("lm_head.") || name.starts_with("classifier."); }

// `other_heads`: what the file says of heads may be more than is asked for.
void read_items(const SafetensorsReader& file, const std::vector<Item>& items, bool other_heads = false) {
    check_layout(file);
    std::string wrong;
    auto complain = [&](const std::string& line) { wrong += (wrong.empty() ? "" : "; ") + line; };
    for (const Item& item : items) {
        const SafetensorsEntry* entry = file.find(item.spec.name);
        if (!entry)
            complain(fmt::format("{} is missing", item.spec.name));
        else if (entry->dtype != item.spec.dtype || entry->shape != item.spec.shape)
            complain(fmt::format("{}: expected {} {}, got {} {}", item.spec.name, name_of(item.spec.dtype),
                                 text(item.spec.shape), entry->dtype_name, text(entry->shape)));
    }
    for (const SafetensorsEntry& entry : file.entries())
        if (!(other_heads && of_a_head(entry.name)) &&
            std::none_of(items.begin(), items.end(), [&](const Item& i) { return i.spec.name == entry.name; }))
            complain(fmt::format("{} is unexpected", entry.name));
    if (!wrong.empty()) fail("{}: does not fit the model: {}", file.path(), wrong);
    for (const Item& item : items) file.read(item.spec.name, item.memory);
}

// `masters`: all of them, on the host.
std::vector<Item> parameter_items(const ParamStore& params, const TensorRef& masters) {
    std::vector<Item> items;
    for (const auto& e : params.entries()) {
        CHECK(masters.dtype == DType::f32);
        const TensorRef at = masters.slice(0, e.offset, e.spec.shape.numel());
        items.push_back({{e.spec.name, DType::f32, dims(e.spec.file_shape)}, at.reshape(e.spec.file_shape)});
    }
    return items;
}

// `counters` and `best` are the memory of the scalars.
std::vector<Item> counter_items(Tensor& counters, Tensor& best) {
    std::vector<Item> items;
    const char* names[] = {"step", "consumed_batches", "tokens", "bad_in_a_row", "best_step", "evaluated_step", "updates"};
    for (int64_t i = 0; i < kCounters; ++i)
        items.push_back({{names[i], DType::i64, {1}}, counters.ref().slice(0, i, 1)});
    items.push_back({{"best_valid_loss", DType::f64, {1}}, best.ref()});
    return items;
}

TrainerState state_of(const Tensor& counters, const Tensor& best) {
    const auto* c = counters.ref().ptr<int64_t>("counters");
    return {c[0], c[1], c[2], c[3], *best.ref().ptr<double>("best"), c[4], c[5]};
}

// Counters and moments; `moments`: all of them, on the host.
std::vector<Item> trainer_items(const ParamStore& params, const TensorRef& moments, Tensor& counters, Tensor& best) {
    std::vector<Item> items = counter_items(counters, best);
    for (const auto& e : params.entries()) {
        if (e.spec.group == ParamGroup::frozen) continue;
        const int64_t n = e.spec.shape.numel(), second = params.sizes().elements;
        items.push_back({{"optimizer.m." + e.spec.name, DType::f32, {n}}, moments.slice(0, e.offset, n)});
        items.push_back({{"optimizer.v." + e.spec.name, DType::f32, {n}}, moments.slice(0, second + e.offset, n)});
    }
    return items;
}

const char* prefix_of(CheckpointKind kind) { return kind == CheckpointKind::step ? "step-" : "best-"; }

// Step of a folder name like step-00000012, or -1. As checkpoint_name gives it, and no other: a user's own step-2 or
// step-plots is none.
int64_t step_of(std::string_view name, CheckpointKind kind) {
    const std::string_view prefix = prefix_of(kind);
    if (!name.starts_with(prefix)) return -1;
    const char *begin = name.data() + prefix.size(), *end = name.data() + name.size();
    int64_t step = -1;
    const auto [at, error] = std::from_chars(begin, end, step);
    return error == std::errc() && at == end && checkpoint_name(kind, step) == name ? step : -1;
}

bool complete(const fs::path& folder) {
    std::error_code ignored;
    return fs::exists(folder / "DONE", ignored);
}

Json read_json(const std::string& path) {
    const std::string content = read_file(path);
    Json json = Json::parse(content, nullptr, false);
    if (json.is_discarded()) fail("{}: not valid JSON; hint: the checkpoint is damaged, use another one", path);
    return json;
}

}  // namespace

void save_checkpoint(const std::string& path, const LanguageModel& model, const ParamStore& params,
                     const Optimizer& optimizer, const TrainerState& state, const Json& run) {
    // The same step is written again when an evaluation was made up for.
    AtomicFolder folder(path, true);
    const std::string& to = folder.temporary();
    write_items(to + "/model.safetensors", parameter_items(params, HostCopy(params.masters()).ref()));
    Tensor counters(DType::i64, {kCounters}), best(DType::f64, {1});
    const int64_t values[] = {state.step,         state.consumed_batches, state.tokens,
                              state.bad_in_a_row, state.best_step,        state.evaluated_step,   optimizer.updates()};
    std::memcpy(counters.ref().data, values, sizeof values);
    *best.ref().ptr<double>("best") = state.best_criterion;
    write_items(to + "/trainer.safetensors", trainer_items(params, HostCopy(optimizer.moments()).ref(), counters, best));
    write_file(to + "/config.json", json_text(to_json(model.config()), 2) + "\n");
    write_file(to + "/run.json", json_text(run, 2) + "\n");
    write_file(to + "/DONE", "");
    folder.commit();
}

std::string checkpoint_name(CheckpointKind kind, int64_t step) { return fmt::format("{}{:08}", prefix_of(kind), step); }

bool is_checkpoint_name(std::string_view name) {
    return step_of(name, CheckpointKind::step) >= 0 || step_of(name, CheckpointKind::best) >= 0;
}

std::vector<CheckpointEntry> list_checkpoints(const std::string& run_folder, CheckpointKind kind) {
    std::vector<CheckpointEntry> found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(run_folder, error)) {
        const int64_t step = step_of(entry.path().filename().string(), kind);
        if (step >= 0 && complete(entry.path())) found.push_back({step, entry.path().string()});
    }
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
    return found;
}

namespace {

// What keeps a checkpoint from being used, or, with `trainer`, from being gone on from: a file that is missing, cut short
// or something else. "" = nothing; whether the files fit each other is not looked at.
std::string damage_of(const std::string& checkpoint, bool trainer) {
    std::error_code ignored;
    try {
        load_config(checkpoint);
        SafetensorsReader(checkpoint + "/model.safetensors");
        if (trainer) SafetensorsReader(checkpoint + "/trainer.safetensors");
        // Others' checkpoints have none.
        if (trainer || fs::exists(checkpoint + "/run.json", ignored)) load_run(checkpoint);
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}

// Complete checkpoints of both kinds, oldest first; of one step its own after the best.
std::vector<CheckpointEntry> all_checkpoints(const std::string& run_folder) {
    std::vector<CheckpointEntry> found = list_checkpoints(run_folder, CheckpointKind::best);
    for (CheckpointEntry& c : list_checkpoints(run_folder, CheckpointKind::step)) found.push_back(std::move(c));
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
    return found;
}

// The newest of `found`, oldest first, that is not damaged; "" without one.
std::string newest_whole(const std::vector<CheckpointEntry>& found, bool trainer) {
    for (auto c = found.rbegin(); c != found.rend(); ++c)
        if (damage_of(c->path, trainer).empty()) return c->path;
    return "";
}

[[noreturn]] void refuse(const std::string& checkpoint, const std::string& reason) {
    const std::string run = (fs::path(checkpoint) / "..").lexically_normal().string();
    const std::string other = newest_whole(all_checkpoints(run), false);
    fail("{}{}", reason, other.empty() ? "" : fmt::format("; {} can be used instead", other));
}

}  // namespace

std::string last_checkpoint(const std::string& run_folder) {
    const auto found = all_checkpoints(run_folder);
    return found.empty() ? "" : found.back().path;
}

bool is_step_checkpoint(const std::string& checkpoint) {
    return step_of(fs::path(checkpoint).filename().string(), CheckpointKind::step) >= 0;
}

std::string find_resumable(const std::string& run_folder) {
    auto found = all_checkpoints(run_folder);
    std::erase_if(found, [](const CheckpointEntry& c) {
        std::error_code ignored;
        return !is_step_checkpoint(c.path) && !fs::exists(c.path + "/trainer.safetensors", ignored);
    });
    if (found.empty()) return "";
    const std::string& last = found.back().path;
    const std::string damage = damage_of(last, true);
    if (damage.empty()) return last;
    const std::string other = newest_whole(found, true);
    fail("{}; hint: {}", damage,
         other.empty() ? "no other checkpoint of the run can be gone on from"
                       : fmt::format("remove {}, and --resume goes on from {}", last, other));
}

std::string find_checkpoint(const std::string& path, bool best) {
    std::error_code error;
    if (!fs::exists(path, error)) fail("{}: no such file or folder; --checkpoint takes a run or a checkpoint folder", path);
    if (!fs::is_directory(path, error)) fail("{}: not a folder; --checkpoint takes a run or a checkpoint folder", path);
    const bool is_one = fs::exists(fs::path(path) / "model.safetensors", error) || complete(path);
    // Others' checkpoints have no DONE and no trainer state; ours without it is cut short.
    if (is_one && fs::exists(fs::path(path) / "run.json", error) && !complete(path))
        refuse(path, fmt::format("{}: the checkpoint is incomplete (no DONE file); hint: use another one of the run", path));
    const auto found = best ? list_checkpoints(path, CheckpointKind::best) : all_checkpoints(path);
    if (is_one || !found.empty()) {
        const std::string checkpoint = is_one ? path : found.back().path;
        if (const std::string damage = damage_of(checkpoint, false); !damage.empty()) refuse(checkpoint, damage);
        return checkpoint;
    }
    if (best) fail("{}: no best checkpoint: the run had nothing held out; hint: leave --best away", path);
    if (fs::exists(fs::path(path) / "run.json", error))
        fail("{}: the run has no complete checkpoint yet; hint: let it go on, with --resume where it was stopped", path);
    fail("{}: holds no complete checkpoint; hint: --checkpoint takes the --out folder of `adder train`", path);
}

void remove_checkpoint(const std::string& folder) {
    // DONE goes first: a folder that is half deleted must not look complete.
    std::error_code ignored;
    fs::remove(fs::path(folder) / "DONE", ignored);
    fs::remove_all(folder, ignored);
}

void prune_checkpoints(const std::string& run_folder, CheckpointKind kind, int64_t keep) {
    const auto found = list_checkpoints(run_folder, kind);
    for (size_t i = 0; i + static_cast<size_t>(keep) < found.size(); ++i) remove_checkpoint(found[i].path);
}

void remove_incomplete_checkpoints(const std::string& run_folder) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(run_folder, error)) {
        std::error_code ignored;
        if (is_checkpoint_name(entry.path().filename().string()) && !complete(entry.path()))
            fs::remove_all(entry.path(), ignored);
    }
}

ModelConfig load_config(const std::string& checkpoint) {
    const std::string path = checkpoint + "/config.json";
    return model_config_from_json(read_json(path), path);
}

Json load_run(const std::string& folder) {
    const std::string path = folder + "/run.json";
    Json run = read_json(path);
    const auto is_object = [&](const char* key) { return run.contains(key) && run[key].is_object(); };
    if (!run.is_object() || !is_object("options") || !is_object("data"))
        fail("{}: not the record of a run; hint: the folder is damaged, use another checkpoint", path);
    if (run.contains("layout")) check_layout(path, run["layout"].dump());
    const auto demand = [&](const Json& part, const char* key, bool (*fits)(const Json&), const char* what) {
        // Older runs have fewer of these.
        if (const auto it = part.find(key); it != part.end() && !fits(*it))
            fail("{}: \"{}\": expected {}, got {}; hint: the folder is damaged, use another checkpoint", path, key, what,
                 it->dump());
    };
    const auto text = [](const Json& x) { return x.is_string(); };
    const auto texts = [](const Json& x) {
        return x.is_array() && std::all_of(x.begin(), x.end(), [](const Json& one) { return one.is_string(); });
    };
    demand(run, "tile", [](const Json& x) { return x.is_number_integer(); }, "a whole number");
    demand(run["options"], "domain", text, "text");
    for (const char* key : {"files", "classes"}) demand(run["data"], key, texts, "a list of texts");
    for (const char* key : {"digest", "valid_digest", "split_digest"}) demand(run["data"], key, text, "text");
    return run;
}

void load_parameters(const std::string& checkpoint, const LanguageModel& model, ParamStore& params) {
    const SafetensorsReader file(checkpoint + "/model.safetensors");
    const HostCopy masters(params.masters());
    std::vector<Item> items = parameter_items(params, masters.ref());
    // Others write the tied head as a tensor of its own; it must then be the embedding.
    Tensor head;
    const bool spare_head = model.config().tie_embeddings && file.find("lm_head.weight");
    if (spare_head) {
        const TensorRef& embedding = items.front().memory;
        head = Tensor(embedding.dtype, embedding.shape);
        items.push_back({{"lm_head.weight", DType::f32, items.front().spec.shape}, head.ref()});
    }
    read_items(file, items);
    if (spare_head && std::memcmp(head.ref().data, items.front().memory.data, static_cast<size_t>(head.ref().bytes())))
        fail("{}: lm_head.weight differs from the embedding, but config.json says that they are tied", file.path());
    masters.upload();
    params.refresh_copies();
}

void load_backbone(const std::string& checkpoint, ParamStore& params) {
    const HostCopy masters(params.masters());
    std::vector<Item> items = parameter_items(params, masters.ref());
    std::erase_if(items, [](const Item& item) { return of_a_head(item.spec.name); });
    read_items(SafetensorsReader(checkpoint + "/model.safetensors"), items, true);
    masters.upload();
    params.refresh_copies();
}

TrainerState load_trainer_state(const std::string& checkpoint) {
    const SafetensorsReader file(checkpoint + "/trainer.safetensors");
    check_layout(file);
    Tensor counters(DType::i64, {kCounters}), best(DType::f64, {1});
    for (const Item& item : counter_items(counters, best)) file.read(item.spec.name, item.memory);
    return state_of(counters, best);
}

TrainerState load_trainer(const std::string& checkpoint, const ParamStore& params, Optimizer& optimizer) {
    const SafetensorsReader file(checkpoint + "/trainer.safetensors");
    Tensor counters(DType::i64, {kCounters}), best(DType::f64, {1});
    const HostCopy moments(optimizer.moments());
    read_items(file, trainer_items(params, moments.ref(), counters, best));
    moments.upload();
    optimizer.set_updates(counters.ref().ptr<int64_t>("counters")[6]);
    return state_of(counters, best);
}

}  // namespace adder
