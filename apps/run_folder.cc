#include "apps/run_folder.h"

#include <algorithm>
#include <filesystem>

#include "apps/build_info.h"
#include "core/json_text.h"
#include "io/file.h"
#include "kernels/common/isa.h"
#include "train/checkpoint.h"

namespace adder {

namespace fs = std::filesystem;

namespace {

constexpr RunFile kRunFiles[] = {
    {"run.json", RunFileBy::run},
    {"metrics.jsonl", RunFileBy::run},
    {"classification.json", RunFileBy::run},   // adder finetune alone
    {"confusion.svg", RunFileBy::measuring},   // the same, or adder probe --confusion DIR/confusion.svg
    {"eval.json", RunFileBy::measuring},       // adder eval --json > DIR/eval.json
    {"probe.json", RunFileBy::measuring},      // adder probe --json > DIR/probe.json
    {"generated.fa", RunFileBy::generating},   // adder generate --out DIR/generated.fa
    {"listen.html", RunFileBy::generating},    // beside WAV and FLAC files: adder generate, of audio
    {"generated/listen.html", RunFileBy::generating},
};

bool is_file_by(std::string_view name, RunFileBy by) {
    return std::any_of(std::begin(kRunFiles), std::end(kRunFiles),
                       [&](const RunFile& file) { return name == file.name && by == file.by; });
}

}  // namespace

std::span<const RunFile> run_files() { return kRunFiles; }

bool is_of_run(std::string_view name) {
    return is_file_by(name, RunFileBy::run) || is_checkpoint_name(name) || name.starts_with("events.out.tfevents.");
}

bool goes_with_run(std::string_view name) { return is_of_run(name) || is_file_by(name, RunFileBy::measuring); }

RunFolder::RunFolder(const std::string& path, bool resume, bool overwrite) : path_(path), overwrite_(overwrite) {
    std::error_code error;
    if (fs::exists(path, error) && !fs::is_directory(path, error))
        fail("{}: --out is a file, expected a folder", path);
    const bool used = fs::exists(path, error) && !fs::is_empty(path, error);
    const bool is_run = fs::exists(path + "/run.json", error);
    if (used && !resume && !overwrite)
        fail("{}: --out holds something already; hint: --resume goes on, --overwrite replaces it", path);
    if (used && overwrite && !is_run)
        fail("{}: --overwrite replaces only the folder of a run, and this one has no run.json; hint: choose another --out",
             path);
    if (!resume) return;
    if (is_run) {
        // Before checkpoints are looked for: a killed run may have left one that only has to get its name back.
        lock_ = std::make_unique<FolderLock>(path_);
        remove_leftovers(path_);
        stored_ = load_run(path);
    }
    checkpoint_ = find_resumable(path);
}

void RunFolder::check_data(const Dataset& data) const {
    if (stored_.is_null()) return;
    const nlohmann::json was = stored_.value("data", nlohmann::json::object());
    for (const auto& [key, now] : {std::pair{"digest", data.digest}, std::pair{"valid_digest", data.valid_digest},
                                   std::pair{"split_digest", data.split_digest}})
        if (const std::string then = was.value(key, ""); then != now)
            fail("{}: the data changed: its {} was {}, is {}; hint: --resume needs the data of the run", path_, key, then,
                 now);
}

void RunFolder::prepare(const nlohmann::json& record) {
    std::error_code error;
    fs::create_directories(path_, error);
    if (error) fail("{}: cannot make the folder: {}; hint: choose another --out", path_, error.message());
    // Nothing is removed before this process holds the folder: another one may be training in it.
    if (!lock_) lock_ = std::make_unique<FolderLock>(path_);
    if (overwrite_)
        for (const auto& entry : fs::directory_iterator(path_)) {
            const std::string name = entry.path().filename().string();
            if (!goes_with_run(name)) continue;
            if (fs::remove_all(entry.path(), error); error)
                fail("{}: cannot remove it for --overwrite: {}", entry.path().string(), error.message());
        }
    remove_leftovers(path_);
    remove_incomplete_checkpoints(path_);
    write_file(path_ + "/run.json", json_text(record, 2) + "\n");
}

nlohmann::json run_record(const OptionList& options, const Dataset& data, int64_t tile, Machine& machine) {
    const BuildInfo& build = build_info();
    return {{"layout", kCheckpointLayout},
            {"options", to_json(options)},
            {"tile", tile},
            {"version", build.version},
            {"commit", build.commit},
            {"device", name_of(machine.device())},
            {"device_name", machine.name()},
            {"dtype", name_of(machine.compute().storage)},
            {"isa", machine.isa()},
            {"blas", openblas_core()},
            {"data", {{"files", data.files}, {"digest", data.digest}, {"valid_digest", data.valid_digest},
                      {"split_digest", data.split_digest}, {"classes", data.classes},
                      {"train_tokens", n_symbols(data.train) / data.tokenizer->width()},
                      {"valid_tokens", n_symbols(data.valid) / data.tokenizer->width()},
                      {"test_tokens", n_symbols(data.test) / data.tokenizer->width()}}}};
}

std::string machine_change(const nlohmann::json& was, const nlohmann::json& now) {
    std::string text;
    for (const char* key : {"device", "device_name", "dtype", "isa", "tile"})
        // Older runs have fewer of these.
        if (!was.is_null() && was.contains(key) && was.at(key) != now.at(key))
            text += fmt::format("{}{}: was {}, is {}", text.empty() ? "" : "; ", key, was.at(key).dump(), now.at(key).dump());
    return text;
}

}  // namespace adder
