#include "pipelines/held_out.h"

#include <fmt/format.h>

#include <string_view>
#include <unordered_set>

#include "core/error.h"
#include "io/file.h"

namespace adder {

HeldOutFiles::HeldOutFiles(const std::vector<std::string>& files) {
    for (const std::string& file : files) canonical_.insert(canonical_file(file));
}

bool HeldOutFiles::leaves_out(const std::string& file, bool is_named) const {
    if (canonical_.empty() || !canonical_.count(canonical_file(file))) return false;
    if (is_named)
        fail(
            "[split] {}: is given as --input and as --valid; hint: hold out another file, or a part of this "
            "one with "
            "--valid-fraction",
            file);
    return true;
}

std::string shared_records(std::span<const TokenRecord> inputs, std::span<const TokenRecord> held_out) {
    const auto text_of = [](const TokenRecord& r) {
        return std::string_view(reinterpret_cast<const char*>(r.symbols.data()), r.symbols.size());
    };
    std::unordered_set<std::string_view> read;
    for (const TokenRecord& r : held_out) read.insert(text_of(r));
    std::unordered_set<std::string_view> shared;
    std::string example;
    for (const TokenRecord& r : inputs) {
        if (read.empty()) break;
        if (!read.count(text_of(r)) || !shared.insert(text_of(r)).second) continue;
        if (example.empty()) example = r.name;
    }
    if (shared.empty()) return "";
    return fmt::format(
        "{} held-out sequence{} also among the inputs, {} for one: what is held out is trained on there",
        shared.size(), shared.size() == 1 ? " is" : "s are", example);
}

}  // namespace adder
