#include "datasets/audio_inputs.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <set>
#include <string_view>

#include "core/error.h"
#include "io/hdf5.h"

namespace adder {

namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 18> kSuffixes{".wav", ".wave", ".flac", ".ogg",  ".oga",  ".opus",
                                                     ".mp3", ".aif",  ".aiff", ".aifc", ".au",   ".snd",
                                                     ".caf", ".w64",  ".rf64", ".sph",  ".nist", ".voc"};
constexpr size_t kShown = 5;

bool has_audio_suffix(const fs::path& path) {
    std::string e = path.extension().string();
    std::transform(e.begin(), e.end(), e.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return std::find(kSuffixes.begin(), kSuffixes.end(), e) != kSuffixes.end();
}

struct FolderFiles {
    std::vector<std::string> files;  // sorted
    int64_t n_others = 0;
};

FolderFiles files_below(const std::string& folder) {
    FolderFiles found;
    std::error_code reason;
    fs::recursive_directory_iterator it(folder, reason), end;
    for (; !reason && it != end; it.increment(reason)) {
        const bool hidden = it->path().filename().string().front() == '.';
        std::error_code ignored;
        if (it->is_directory(ignored)) {
            if (hidden) it.disable_recursion_pending();
            continue;
        }
        if (hidden) continue;
        if (has_audio_suffix(it->path()))
            found.files.push_back(it->path().string());
        else
            ++found.n_others;
    }
    if (reason)
        fail("[input] {}: {}; hint: check the permissions of the folders in it", folder, reason.message());
    if (found.files.empty())
        fail(
            "[input] {}: no audio in this folder and those below ({} other files); hint: files are known by "
            "suffixes such as "
            ".wav, .flac, .ogg, .mp3; others can be named each with --input",
            folder, found.n_others);
    std::sort(found.files.begin(), found.files.end());
    return found;
}

std::vector<std::string> files_of_glob(const std::string& pattern) {
    struct Found {
        glob_t paths{};
        ~Found() { ::globfree(&paths); }
    } found;
    const int error = ::glob(pattern.c_str(), 0, nullptr, &found.paths);
    if (error == GLOB_NOMATCH) fail("[input] {}: no file fits; hint: check the path", pattern);
    if (error != 0) fail("[input] {}: cannot be listed; hint: check the permissions", pattern);
    std::vector<std::string> files;
    for (size_t i = 0; i < found.paths.gl_pathc; ++i)
        if (!fs::is_directory(found.paths.gl_pathv[i])) files.emplace_back(found.paths.gl_pathv[i]);
    if (files.empty()) fail("[input] {}: only folders fit; hint: name a folder without a pattern", pattern);
    return files;
}

class Listing {
  public:
    explicit Listing(const FilePattern* pattern) : pattern_(pattern) {}

    void add(const std::string& value) {
        std::error_code reason;
        const fs::file_status status = value == "-" ? fs::file_status() : fs::status(value, reason);
        if (value == "-") return add_file(value, "standard input", "", true);
        if (!fs::exists(status) && value.find_first_of("*?[") != value.npos) return add_glob(value);
        if (!fs::exists(status))
            fail("[input] {}: {}; hint: check the path", value,
                 reason ? reason.message() : std::string("No such file or directory"));
        if (fs::is_directory(status)) return add_folder(value);
        if (fs::is_regular_file(status) && !has_audio_suffix(value)) {
            if (looks_like_hdf5(value)) return add_store(value);
            if (looks_like_manifest(value)) return add_manifest(value);
        }
        add_file(value, fs::path(value).filename().string(), "", true);
    }

    AudioListing finish() {
        if (!unmatched_.empty()) {
            const size_t n = std::min(unmatched_.size(), kShown);
            const std::vector<std::string> first(unmatched_.begin(),
                                                 unmatched_.begin() + static_cast<int64_t>(n));
            fail(
                "[input] --pattern {}: {} of {} files do not fit: {}{}; hint: name those that fit, or give a "
                "manifest",
                pattern_->text(), unmatched_.size(), out_.items.size(), fmt::join(first, ", "),
                unmatched_.size() > n ? ", ..." : "");
        }
        return std::move(out_);
    }

  private:
    void add_item(AudioItem item) {
        if (pattern_ && !item.store) {
            // Of the end of the path as many parts as the pattern has.
            const fs::path path = item.path == "-" ? fs::path("standard input") : fs::path(item.path);
            std::string end = path.stem().string();
            fs::path folder = path.parent_path();
            for (auto n = std::count(pattern_->text().begin(), pattern_->text().end(), '/'); n > 0; --n) {
                end = folder.filename().string() + "/" + end;
                folder = folder.parent_path();
            }
            if (!pattern_->match(end, item.fields)) unmatched_.push_back(item.name);
            if (const auto it = item.fields.find("label");
                it != item.fields.end() && (item.label.empty() || !of_manifest_))
                item.label = it->second;
            if (const auto it = item.fields.find("group"); it != item.fields.end() && item.group.empty())
                item.group = it->second;
        }
        item.fields["label"] = item.label;
        item.fields["group"] = item.group;
        out_.items.push_back(std::move(item));
    }

    void add_file(const std::string& path, const std::string& name, const std::string& label, bool named) {
        std::error_code ignored;
        const std::string canonical = path == "-" ? path : fs::weakly_canonical(path, ignored).string();
        if (!seen_.insert(canonical).second)
            fail("[input] {}: given twice; hint: name each input once", path);
        add_item({.path = path, .name = name, .label = label, .named = named});
    }

    void add_folder(const std::string& folder) {
        const FolderFiles found = files_below(folder);
        for (const std::string& file : found.files) {
            const fs::path inside = fs::path(file).lexically_relative(folder);
            add_file(file, inside.string(), inside.parent_path().filename().string(), false);
        }
        out_.n_folder_files += static_cast<int64_t>(found.files.size());
        const std::string others =
            found.n_others > 0 ? fmt::format(", {} others left out", found.n_others) : "";
        out_.report.push_back(fmt::format("{}: {} audio files{}", folder, found.files.size(), others));
    }

    void add_glob(const std::string& pattern) {
        const std::vector<std::string> files = files_of_glob(pattern);
        for (const std::string& file : files) add_file(file, fs::path(file).filename().string(), "", false);
        out_.n_folder_files += static_cast<int64_t>(files.size());
        out_.report.push_back(fmt::format("{}: {} files", pattern, files.size()));
    }

    void add_store(const std::string& path) {
        add_item({.path = path, .name = path, .named = true, .store = true});
    }

    void add_manifest(const std::string& path) {
        const Manifest manifest = read_manifest(path, false);
        of_manifest_ = true;
        for (const ManifestRow& row : manifest.rows) {
            const std::string place = fmt::format("{}, line {}", path, row.line);
            if (row.path.empty())
                fail(
                    "[input] {}: a sequence, expected the path of an audio file; hint: --domain dna reads "
                    "sequences",
                    place);
            AudioItem item{.path = row.path,
                           .name = row.name,
                           .label = row.label,
                           .group = row.group,
                           .split = row.split};
            item.start_s = row.start;
            item.end_s = row.end;
            // Several parts of one file are told apart by where they begin.
            if ((row.start || row.end) && row.name.find('@') == row.name.npos &&
                !names_.insert(row.name).second)
                item.name = fmt::format("{}@{}", row.name, row.start.value_or(0));
            names_.insert(item.name);
            item.place = place;
            add_item(std::move(item));
        }
        of_manifest_ = false;
        out_.has_split |= manifest.has_split;
        out_.report.push_back(fmt::format("{}: {} rows", path, manifest.rows.size()));
    }

    const FilePattern* pattern_;
    AudioListing out_;
    bool of_manifest_ = false;
    std::set<std::string> seen_, names_;
    std::vector<std::string> unmatched_;
};

}  // namespace

AudioListing audio_inputs(std::span<const std::string> values, const FilePattern* pattern) {
    if (values.empty()) fail("[input] nothing to read; hint: give --input FILE");
    Listing listing(pattern);
    for (const std::string& value : values) listing.add(value);
    return listing.finish();
}

}  // namespace adder
