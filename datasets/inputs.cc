#include "datasets/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <limits>
#include <string_view>
#include <system_error>

#include "core/error.h"
#include "datasets/hts.h"
#include "io/file.h"

namespace adder {

namespace fs = std::filesystem;

namespace {

std::string lower_extension(const fs::path& path) {
    std::string e = path.extension().string();
    std::transform(e.begin(), e.end(), e.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return e;
}

template <size_t N>
bool is_one_of(std::string_view suffix, const std::array<std::string_view, N>& suffixes) {
    return std::find(suffixes.begin(), suffixes.end(), suffix) != suffixes.end();
}

enum class Content { genome, reads, other };

// By suffix, so that an empty or damaged file is an error when it is read and not silently left out; else by
// the first bytes, as far as those are unmistakable.
Content content_of(const fs::path& path) {
    constexpr std::array<std::string_view, 6> kFasta{".fa", ".fasta", ".fna", ".ffn", ".fas", ".fsa"};
    constexpr std::array<std::string_view, 5> kReads{".fq", ".fastq", ".sam", ".bam", ".cram"};
    // What cannot be decompressed here is an error where it is read, not left out.
    constexpr std::array<std::string_view, 6> kCompressed{".gz", ".bgz", ".bz2", ".xz", ".zst", ".zip"};
    std::string suffix = lower_extension(path);
    if (is_one_of(suffix, kCompressed)) suffix = lower_extension(path.stem());
    if (suffix == ".faa") return Content::other;
    if (is_one_of(suffix, kFasta)) return Content::genome;
    if (is_one_of(suffix, kReads)) return Content::reads;
    try {
        const SequenceFormat format = InputFile(path.string()).format();
        if (format == SequenceFormat::fasta) return Content::genome;
        if (format == SequenceFormat::bam || format == SequenceFormat::cram) return Content::reads;
    } catch (const Error&) {
        // Not ours to complain about: nobody named it.
    }
    return Content::other;
}

bool is_index(const fs::path& path) {
    constexpr std::array<std::string_view, 6> kIndexes{".fai", ".gzi", ".bai", ".csi", ".crai", ".tbi"};
    return is_one_of(lower_extension(path), kIndexes);
}

// "2 files (a.txt, b.md)"
std::string counted(std::vector<std::string> names, const char* what) {
    constexpr size_t kShown = 5;
    std::sort(names.begin(), names.end());
    const size_t n = names.size();
    names.resize(std::min(n, kShown));
    return fmt::format("{} {}{} ({}{})", n, what, n == 1 ? "" : "s", fmt::join(names, ", "),
                       n > kShown ? ", ..." : "");
}

// What a folder holds beside the files that are read.
struct LeftOut {
    std::vector<std::string> files, folders;
    std::string text() const {
        if (files.empty() || folders.empty())
            return files.empty() ? counted(folders, "subfolder") : counted(files, "file");
        return counted(files, "file") + ", " + counted(folders, "subfolder");
    }
};

std::vector<std::string> files_in(const std::string& folder, LeftOut& left_out) {
    std::vector<std::string> files, reads;
    std::error_code reason;
    for (fs::directory_iterator it(folder, reason), end; !reason && it != end; it.increment(reason)) {
        std::error_code unreadable;
        const std::string name = it->path().filename().string();
        if (name.front() == '.') continue;
        if (it->is_directory(unreadable)) left_out.folders.push_back(name);
        if (!it->is_regular_file(unreadable)) continue;
        const Content content = content_of(it->path());
        if (content != Content::other)
            (content == Content::reads ? reads : files).push_back(it->path().string());
        else if (!is_index(it->path()))
            left_out.files.push_back(name);
    }
    if (reason) fail("[input] {}: {}; hint: check the permissions", folder, reason.message());
    if (files.empty() && reads.empty()) {
        fail(
            "[input] {}: no FASTA file and no reads in this folder; hint: subfolders are not searched, name "
            "each with "
            "--input",
            folder);
    }
    if (!files.empty() && !reads.empty()) {
        fail(
            "[input] {}: holds both sequences ({}) and reads ({}); hint: name the files that are meant, each "
            "with "
            "--input",
            folder, fs::path(files[0]).filename().string(), fs::path(reads[0]).filename().string());
    }
    files.insert(files.end(), reads.begin(), reads.end());
    std::sort(files.begin(), files.end());
    return files;
}

}  // namespace

void GivenFiles::add(const std::string& path, std::optional<double> start, std::optional<double> end,
                     const std::string& place) {
    const double whole_end = std::numeric_limits<double>::infinity();
    const auto [at, fresh] =
        places_.try_emplace({canonical_file(path), start.value_or(0), end.value_or(whole_end)}, place);
    if (fresh) return;
    const auto by = [](const std::string& row) { return row.empty() ? std::string("by itself") : "in " + row; };
    const bool by_rows = !place.empty() || !at->second.empty();
    fail("[input] {}: given twice{}; hint: name each input once", path,
         by_rows ? fmt::format(", {} and {}", by(at->second), by(place)) : "");
}

std::vector<std::string> sequence_inputs(std::span<const std::string> values,
                                         std::vector<std::string>* notes) {
    if (values.empty()) fail("[input] nothing to read; hint: give --input FILE");
    std::vector<std::string> files;
    GivenFiles given;
    for (const std::string& value : values) {
        std::error_code reason;
        const fs::file_status status = value == "-" ? fs::file_status() : fs::status(value, reason);
        if (value != "-" && !fs::exists(status)) {
            fail("[input] {}: {}; hint: check the path", value,
                 reason ? reason.message() : std::string("No such file or directory"));
        }
        LeftOut left_out;
        for (std::string& file :
             fs::is_directory(status) ? files_in(value, left_out) : std::vector<std::string>{value}) {
            given.add(file);
            files.push_back(std::move(file));
        }
        if (notes && !(left_out.files.empty() && left_out.folders.empty()))
            notes->push_back(fmt::format("left out in {}: {}", value, left_out.text()));
    }
    return files;
}

}  // namespace adder
