#include "datasets/inputs.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>

#include "core/error.h"
#include "datasets/hts.h"

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
    std::string suffix = lower_extension(path);
    if (suffix == ".gz" || suffix == ".bgz") suffix = lower_extension(path.stem());
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

std::vector<std::string> files_in(const std::string& folder) {
    std::vector<std::string> files, reads;
    std::error_code reason;
    for (fs::directory_iterator it(folder, reason), end; !reason && it != end; it.increment(reason)) {
        std::error_code unreadable;
        if (!it->is_regular_file(unreadable) || it->path().filename().string().front() == '.') continue;
        const Content content = content_of(it->path());
        if (content != Content::other)
            (content == Content::reads ? reads : files).push_back(it->path().string());
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

std::vector<std::string> sequence_inputs(std::span<const std::string> values) {
    if (values.empty()) fail("[input] nothing to read; hint: give --input FILE");
    std::vector<std::string> files;
    std::set<std::string> seen;
    for (const std::string& value : values) {
        std::error_code reason;
        const fs::file_status status = value == "-" ? fs::file_status() : fs::status(value, reason);
        if (value != "-" && !fs::exists(status)) {
            fail("[input] {}: {}; hint: check the path", value,
                 reason ? reason.message() : std::string("No such file or directory"));
        }
        for (std::string& file :
             fs::is_directory(status) ? files_in(value) : std::vector<std::string>{value}) {
            const std::string canonical = file == "-" ? file : fs::weakly_canonical(file, reason).string();
            if (!seen.insert(canonical).second) {
                fail("[input] {}: given twice; hint: name each input once", file);
            }
            files.push_back(std::move(file));
        }
    }
    return files;
}

}  // namespace adder
