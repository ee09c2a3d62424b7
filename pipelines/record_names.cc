#include "pipelines/record_names.h"

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/printable.h"

namespace adder {

namespace {

// The names that exist, as far as they fit into a message.
std::string some_names(std::span<const TokenRecord> records) {
    constexpr size_t kShown = 8;
    std::string text;
    for (size_t i = 0; i < std::min(records.size(), kShown); ++i) text += (i ? ", " : "") + records[i].name;
    return records.size() > kShown ? fmt::format("{} and {} more", text, records.size() - kShown) : text;
}

}  // namespace

std::vector<std::string> file_labels(std::span<const std::string> files) {
    // The same however a file is named, so that names in a split hold from anywhere.
    std::vector<std::filesystem::path> rest;
    for (const std::string& file : files)
        rest.emplace_back(printable(std::filesystem::absolute(file).lexically_normal().string()));
    std::vector<std::string> labels(files.size());
    for (bool again = true; again;) {
        std::unordered_map<std::string, int64_t> count;
        for (const std::string& label : labels) ++count[label];
        again = false;
        for (size_t i = 0; i < files.size(); ++i) {
            if ((!labels[i].empty() && count.at(labels[i]) == 1) || !rest[i].has_filename()) continue;
            labels[i] = rest[i].filename().string() + (labels[i].empty() ? "" : "/") + labels[i];
            rest[i] = rest[i].parent_path();
            again = true;
        }
    }
    return labels;
}

std::string_view bare_name(const TokenRecord& r, std::span<const std::string> labels) {
    const std::string_view name = r.name;
    const std::string& label = labels[static_cast<size_t>(r.file)];
    const bool qualified = name.size() > label.size() && name.starts_with(label) && name[label.size()] == ':';
    return qualified ? name.substr(label.size() + 1) : name;
}

void settle_names(std::span<TokenRecord> records, std::span<const std::string> files) {
    for (TokenRecord& r : records) r.name = printable(r.name);
    if (files.size() < 2) return;
    const std::vector<std::string> labels = file_labels(files);
    constexpr int32_t kSeveral = -1;
    std::unordered_map<std::string_view, int32_t> file_of;
    for (const TokenRecord& r : records)
        if (const auto [at, fresh] = file_of.try_emplace(r.name, r.file); !fresh && at->second != r.file)
            at->second = kSeveral;
    // Not yet renamed, for the keys are the names themselves.
    std::vector<size_t> ambiguous;
    for (size_t i = 0; i < records.size(); ++i)
        if (file_of.at(records[i].name) == kSeveral) ambiguous.push_back(i);
    for (const size_t i : ambiguous)
        records[i].name = labels[static_cast<size_t>(records[i].file)] + ":" + records[i].name;
}

std::vector<std::string> qualified_names(std::span<const TokenRecord> records, std::span<const std::string> files) {
    const std::vector<std::string> labels = file_labels(files);
    std::vector<std::string> names;
    for (const TokenRecord& r : records)
        names.push_back(fmt::format("{}:{}", labels[static_cast<size_t>(r.file)], bare_name(r, labels)));
    return names;
}

WantedNames::WantedNames(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
        names_.insert(name);
        for (size_t colon = name.find(':'); colon != name.npos; colon = name.find(':', colon + 1))
            names_.insert(name.substr(colon + 1));
    }
}

RecordNames::RecordNames(std::span<const TokenRecord> records, std::span<const std::string> files) : records_(records) {
    const std::vector<std::string> labels = file_labels(files);
    const auto add = [&](std::string name, int64_t i) {
        if (const auto [at, fresh] = index_.try_emplace(std::move(name), i); !fresh && at->second != i) at->second = -1;
    };
    for (size_t i = 0; i < records.size(); ++i) {
        const std::string bare(bare_name(records[i], labels));
        add(bare, static_cast<int64_t>(i));
        add(labels[static_cast<size_t>(records[i].file)] + ":" + bare, static_cast<int64_t>(i));
    }
}

int64_t RecordNames::find(const std::string& name, std::string_view what) const {
    const auto at = index_.find(name);
    if (at == index_.end())
        fail("[names] {}: there is no record {}; the records are {}", what, name, some_names(records_));
    if (at->second < 0)
        fail("[names] {}: {} is the name of several records; hint: write file:name", what, name);
    return at->second;
}

std::string counted(int64_t n, const char* noun) {
    return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

}  // namespace adder
