#include "apps/output_file.h"

#include <algorithm>
#include <filesystem>

#include "apps/run_folder.h"
#include "core/error.h"
#include "io/file.h"

namespace adder {

namespace {

namespace fs = std::filesystem;

std::vector<std::string> values_of(const Option& o) {
    if (auto* const* one = std::get_if<std::string*>(&o.value)) return {**one};
    if (auto* const* many = std::get_if<std::vector<std::string>*>(&o.value)) return **many;
    return {};
}

// A folder of these options stands for the files in it.
bool reads_folders(const Option& o) {
    return o.name == "input" || o.name == "valid" || o.name == "sequences";
}

void check_is_no_input(const OptionList& options, std::string_view name, const std::string& path) {
    const fs::path folder = fs::absolute(path).parent_path();
    std::error_code ignored;
    for (const Option& o : options.all()) {
        // A prompt is text or a file.
        if (o.name == name || !(o.is_path || o.name == "prompt")) continue;
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
    const Option* folder = options.find(name);
    CHECK(folder != nullptr);
    const std::string& path = *std::get<std::string*>(folder->value);
    std::error_code error;
    if (!overwrite || !fs::is_directory(path, error)) return;
    const fs::path out = fs::weakly_canonical(path, error);
    for (const Option& o : options.all()) {
        // A prompt is text or a file.
        if (o.name == name || !(o.is_path || o.name == "prompt")) continue;
        for (const std::string& other : values_of(o)) {
            if (other.empty() || other == "-" || (!o.is_path && !fs::is_regular_file(other, error))) continue;
            const fs::path inside = fs::weakly_canonical(other, error);
            if (std::mismatch(out.begin(), out.end(), inside.begin(), inside.end()).first == out.end())
                fail("{}: --overwrite of --{} would remove what --{} names; hint: another --{}", other, name, o.name,
                     name);
        }
    }
}

void check_was_not_read(const std::string& out, std::span<const std::string> files) {
    std::error_code ignored;
    for (const std::string& file : files)
        if (fs::equivalent(file, out, ignored))
            fail("{}: --out would replace what was read; hint: another --out", out);
}

void check_output_or_stdout(OptionList& options, std::string_view name, bool overwrite) {
    const Option* option = options.find(name);
    CHECK(option != nullptr);
    const std::string& path = *std::get<std::string*>(option->value);
    if (path.empty() || path == "-") return;
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
    const Option* option = options.find(name);
    CHECK(option != nullptr);
    if (*std::get<std::string*>(option->value) == "-")
        throw UsageError(fmt::format("--{}: - is standard output, which takes no such file; hint: a name {}",
                                     name, option->unit));
    check_output_or_stdout(options, name, overwrite);
}

}  // namespace adder
