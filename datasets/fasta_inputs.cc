#include "datasets/fasta_inputs.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>

#include "core/error.h"
#include "datasets/fasta.h"

namespace adder {

namespace fs = std::filesystem;

namespace {

std::string lower_extension(const fs::path& path) {
    std::string e = path.extension().string();
    std::transform(e.begin(), e.end(), e.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return e;
}

bool belongs(const fs::path& path) {
    constexpr std::array<std::string_view, 6> kSuffixes{".fa", ".fasta", ".fna", ".ffn", ".fas", ".fsa"};
    std::string suffix = lower_extension(path);
    if (suffix == ".gz" || suffix == ".bgz") suffix = lower_extension(path.stem());
    if (suffix == ".faa") return false;
    return std::find(kSuffixes.begin(), kSuffixes.end(), suffix) != kSuffixes.end() ||
           looks_like_fasta(path.string());
}

std::vector<std::string> files_in(const std::string& folder) {
    std::vector<std::string> files;
    std::error_code reason;
    for (fs::directory_iterator it(folder, reason), end; !reason && it != end; it.increment(reason)) {
        std::error_code unreadable;
        if (!it->is_regular_file(unreadable) || it->path().filename().string().front() == '.') continue;
        if (belongs(it->path())) files.push_back(it->path().string());
    }
    if (reason) fail("[input] {}: {}; hint: check the permissions", folder, reason.message());
    if (files.empty()) {
        fail(
            "[input] {}: no FASTA file in this folder; hint: subfolders are not searched, name each with "
            "--input",
            folder);
    }
    std::sort(files.begin(), files.end());
    return files;
}

}  // namespace

std::vector<std::string> fasta_inputs(std::span<const std::string> values) {
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
