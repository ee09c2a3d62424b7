#include "datasets/audio_inputs.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <set>
#include <string_view>

#include "core/error.h"
#include "core/json_text.h"
#include "datasets/inputs.h"
#include "io/file.h"
#include "io/hdf5.h"

namespace adder {

namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 18> kSuffixes{".wav", ".wave", ".flac", ".ogg",  ".oga",  ".opus",
                                                     ".mp3", ".aif",  ".aiff", ".aifc", ".au",   ".snd",
                                                     ".caf", ".w64",  ".rf64", ".sph",  ".nist", ".voc"};
constexpr size_t kShown = 5;

constexpr std::array<std::string_view, 3> kManifestSuffixes{".tsv", ".csv", ".jsonl"};

bool has_suffix(const fs::path& path, std::span<const std::string_view> suffixes) {
    std::string e = path.extension().string();
    std::transform(e.begin(), e.end(), e.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return std::find(suffixes.begin(), suffixes.end(), e) != suffixes.end();
}

std::string unreadable(const std::string& folder, const std::string& reason) {
    return fmt::format("{}: {}", folder, reason);
}

// The files in a folder and those below, every folder and file once.
class FolderFiles {
  public:
    explicit FolderFiles(const std::string& folder) {
        std::error_code reason;
        fs::directory_iterator readable(folder, reason);
        if (reason) fail("[input] {}: {}; hint: check the permissions", folder, reason.message());
        add(folder);
        // What links lead to comes last, so that a file goes by the name of its own place.
        while (!links_.empty()) {
            const fs::path link = links_.front();
            links_.erase(links_.begin());
            add(link);
        }
        if (files.empty())
            fail(
                "[input] {}: no audio in this folder and those below ({} other files{}); hint: files are "
                "known by "
                "suffixes such as "
                ".wav, .flac, .ogg, .mp3; others can be named each with --input",
                folder, n_others, unreadables.empty() ? "" : ", not readable: " + unreadables.front());
        std::sort(files.begin(), files.end());
    }

    std::vector<std::string> files;  // sorted
    std::vector<std::string> unreadables;
    int64_t n_others = 0;

  private:
    // Whether a file or folder is met for the first time.
    bool is_new(const fs::path& path) {
        return seen_.insert(canonical_file(path.string())).second;
    }

    void add(const fs::path& folder) {
        if (!is_new(folder)) return;
        std::error_code reason;
        fs::directory_iterator it(folder, reason), end;
        for (; !reason && it != end; it.increment(reason)) {
            const fs::path& path = it->path();
            std::error_code ignored;
            const bool hidden = path.filename().string().front() == '.',
                       is_folder = it->is_directory(ignored);
            if (!hidden && it->is_symlink(ignored) && (is_folder || has_audio_suffix(path.string())))
                links_.push_back(path);
            else if (!hidden && is_folder)
                add(path);
            else if (is_new(path))
                add_file(path, hidden);
        }
        if (!reason) return;
        if (reason == std::errc::not_a_directory) return add_file(folder, false);  // behind a link
        unreadables.push_back(unreadable(folder.string(), reason.message()));
    }

    void add_file(const fs::path& path, bool hidden) {
        if (!hidden && has_audio_suffix(path.string()))
            files.push_back(path.string());
        else
            ++n_others;
    }

    std::vector<fs::path> links_;
    std::set<std::string> seen_;
};

struct GlobFiles {
    std::vector<std::string> files, unreadables;
};

GlobFiles files_of_glob(const std::string& pattern) {
    struct Found {
        glob_t paths{};
        ~Found() { ::globfree(&paths); }
    } found;
    GlobFiles out;
    // glob() calls a function that can be given nothing.
    static thread_local std::vector<std::string>* unreadables;
    unreadables = &out.unreadables;
    const auto on_error = [](const char* path, int error) {
        unreadables->push_back(unreadable(path, std::strerror(error)));
        return 0;
    };
    const int error = ::glob(pattern.c_str(), 0, on_error, &found.paths);
    unreadables = nullptr;
    if (error != 0 && !out.unreadables.empty())
        fail("[input] {}: no file fits, but {}; hint: check the permissions", pattern,
             out.unreadables.front());
    if (error == GLOB_NOMATCH) fail("[input] {}: no file fits; hint: check the path", pattern);
    if (error != 0) fail("[input] {}: cannot be listed; hint: check the permissions", pattern);
    for (size_t i = 0; i < found.paths.gl_pathc; ++i)
        if (!fs::is_directory(found.paths.gl_pathv[i])) out.files.emplace_back(found.paths.gl_pathv[i]);
    if (out.files.empty())
        fail("[input] {}: only folders fit; hint: name a folder without a pattern", pattern);
    return out;
}

// The name of the folder that a file is in, wherever one stands.
std::string folder_of(const std::string& file) {
    std::error_code ignored;
    return fs::absolute(file, ignored).parent_path().filename().string();
}

class Listing {
  public:
    // `n_folders`: how many of the values are folders.
    Listing(const FilePattern* pattern, int64_t n_folders) : pattern_(pattern), n_folders_(n_folders) {}

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
            if (has_suffix(value, kManifestSuffixes) || looks_like_manifest(value))
                return add_manifest(value);
        }
        add_file(value, fs::path(value).filename().string(), folder_of(value), true);
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
        item.fields["label"] = item.label = utf8_text(item.label);
        item.fields["group"] = item.group;
        out_.items.push_back(std::move(item));
    }

    void add_file(const std::string& path, const std::string& name, const std::string& label, bool named) {
        given_.add(path);
        add_item({.path = path, .name = name, .label = label, .named = named});
    }

    void add_folder(const std::string& folder) {
        const FolderFiles found(folder);
        // One folder alone tells nothing apart; one of several is a label as the folders in one are.
        std::error_code ignored;
        const fs::path whole = fs::canonical(folder, ignored);
        const std::string own = n_folders_ > 1 ? whole.filename().string() : "";
        for (const std::string& file : found.files) {
            const fs::path inside = fs::path(file).lexically_relative(folder);
            const std::string below = inside.parent_path().filename().string();
            add_file(file, inside.string(), below.empty() ? own : below, false);
        }
        out_.n_folder_files += static_cast<int64_t>(found.files.size());
        note(found.unreadables);
        const std::string others =
            found.n_others > 0 ? fmt::format(", {} others left out", found.n_others) : "";
        out_.report.push_back(fmt::format("{}: {} audio files{}", folder, found.files.size(), others));
    }

    void add_glob(const std::string& pattern) {
        const GlobFiles found = files_of_glob(pattern);
        for (const std::string& file : found.files)
            add_file(file, fs::path(file).filename().string(), folder_of(file), false);
        note(found.unreadables);
        out_.n_folder_files += static_cast<int64_t>(found.files.size());
        out_.report.push_back(fmt::format("{}: {} files", pattern, found.files.size()));
    }

    void note(const std::vector<std::string>& unreadables) {
        out_.unreadable.insert(out_.unreadable.end(), unreadables.begin(), unreadables.end());
    }

    void add_store(const std::string& path) {
        given_.add(path);
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
            given_.add(row.path, row.start, row.end, place);
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
    int64_t n_folders_;
    AudioListing out_;
    bool of_manifest_ = false;
    GivenFiles given_;
    std::set<std::string> names_;
    std::vector<std::string> unmatched_;
};

}  // namespace

bool has_audio_suffix(const std::string& path) {
    return has_suffix(path, kSuffixes);
}

AudioListing audio_inputs(std::span<const std::string> values, const FilePattern* pattern) {
    if (values.empty()) fail("[input] nothing to read; hint: give --input FILE");
    const auto is_folder = [](const std::string& value) {
        std::error_code ignored;
        return value != "-" && fs::is_directory(value, ignored);
    };
    Listing listing(pattern, std::ranges::count_if(values, is_folder));
    for (const std::string& value : values) listing.add(value);
    return listing.finish();
}

}  // namespace adder
