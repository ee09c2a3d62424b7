#include "apps/output_file.h"

#include <algorithm>
#include <filesystem>

#include "apps/run_folder.h"
#include "core/error.h"
#include "io/file.h"

namespace adder {

namespace {

namespace fs = std::filesystem;

// The options of all commands that name what they write.
constexpr const char* kOutputs[] = {"out", "per-record", "confusion", "json-out"};

bool overwrites(const OptionList& options) {
    for (const Option& o : options.all())
        if (o.name == "overwrite") return *std::get<bool*>(o.value);
    return false;
}

std::vector<std::string> values_of(const Option& o) {
    if (auto* const* one = std::get_if<std::string*>(&o.value)) return {**one};
    if (auto* const* many = std::get_if<std::vector<std::string>*>(&o.value)) return **many;
    return {};
}

// A prompt is text or a file.
bool may_name_a_file(const Option& o) { return o.is_path || o.name == "prompt"; }

const std::string& path_of(OptionList& options, std::string_view name) {
    const Option* option = options.find(name);
    CHECK(option != nullptr);
    return *std::get<std::string*>(option->value);
}

// A folder of these options stands for the files in it.
bool reads_folders(const Option& o) {
    return o.name == "input" || o.name == "valid" || o.name == "sequences";
}

void check_is_no_input(const OptionList& options, std::string_view name, const std::string& path) {
    const fs::path folder = fs::absolute(path).parent_path();
    std::error_code ignored;
    for (const Option& o : options.all()) {
        if (o.name == name || !may_name_a_file(o)) continue;
        for (const std::string& other : values_of(o)) {
            if (fs::equivalent(other, path, ignored))
                fail("{}: --{} would replace what --{} names; hint: another --{}", path, name, o.name, name);
            if (reads_folders(o) && fs::equivalent(other, folder, ignored))
                fail("{}: --{} would replace a file in the folder of --{}; hint: another --{}", path, name,
                     o.name, name);
        }
    }
}

void check_is_not_of_run(std::string_view name, const std::string& path) {
    const fs::path absolute = fs::absolute(path), folder = absolute.parent_path();
    std::error_code ignored;
    const bool in_run = fs::exists(folder / "run.json", ignored) && is_of_run(absolute.filename().string());
    const bool in_checkpoint = is_of_run(folder.filename().string()) &&
                               fs::exists(folder / "config.json", ignored);
    if (in_run || in_checkpoint)
        fail("{}: --{} would replace a part of a run; hint: another --{}", path, name, name);
}

}  // namespace

void check_output_folder(OptionList& options, std::string_view name, bool overwrite) {
    const std::string& path = path_of(options, name);
    remove_abandoned(path);
    std::error_code error;
    if (!overwrite || !fs::is_directory(path, error)) return;
    for (const Option& o : options.all()) {
        if (o.name == name || !may_name_a_file(o)) continue;
        for (const std::string& other : values_of(o)) {
            if (other.empty() || other == "-" || (!o.is_path && !fs::is_regular_file(other, error))) continue;
            if (lies_in(other, path))
                fail("{}: --overwrite of --{} would remove what --{} names; hint: another --{}", other, name, o.name,
                     name);
        }
    }
}

std::string table_field(const std::string& text) {
    if (!text.starts_with('"')) return text;
    std::string field = "\"";
    for (const char c : text) field += c == '"' ? "\"\"" : std::string(1, c);
    return field + '"';
}

bool lies_in(const std::string& path, const std::string& folder) {
    const fs::path out = canonical_file(folder), inside = canonical_file(path);
    return std::mismatch(out.begin(), out.end(), inside.begin(), inside.end()).first == out.end();
}

void check_was_not_read(const OptionList& options, std::span<const std::string> files) {
    std::error_code ignored;
    for (const Option& o : options.all()) {
        if (std::find(std::begin(kOutputs), std::end(kOutputs), o.name) == std::end(kOutputs)) continue;
        const std::string& out = *std::get<std::string*>(o.value);
        if (out.empty() || out == "-") continue;
        const bool is_folder = fs::is_directory(out, ignored);
        for (const std::string& file : files) {
            if (fs::equivalent(file, out, ignored))
                fail("{}: --{} would replace what was read; hint: another --{}", out, o.name, o.name);
            if (is_folder && overwrites(options) && lies_in(file, out) &&
                goes_with_run(fs::path(canonical_file(file)).lexically_relative(canonical_file(out)).begin()->string()))
                fail("{}: --overwrite of --{} would remove what was read; hint: another --{}", file, o.name, o.name);
        }
    }
}

void check_output_or_stdout(OptionList& options, std::string_view name, bool overwrite) {
    const std::string& path = path_of(options, name);
    if (path.empty() || path == "-") return;
    remove_abandoned(path);
    std::error_code ignored;
    // Folders and devices are AtomicFile's to refuse.
    if (fs::is_regular_file(path, ignored)) {
        check_is_no_input(options, name, path);
        check_is_not_of_run(name, path);
        if (!overwrite) fail("{}: --{} is there already; hint: --overwrite replaces it", path, name);
    }
    const AtomicFile can_be_made(path);
}

void check_output(OptionList& options, std::string_view name, bool overwrite) {
    if (path_of(options, name) == "-")
        throw UsageError(fmt::format("--{}: - is standard output, which takes no such file; hint: a name {}",
                                     name, options.find(name)->unit));
    check_output_or_stdout(options, name, overwrite);
}

}  // namespace adder
