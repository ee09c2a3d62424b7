#include "datasets/labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "core/error.h"
#include "core/json_text.h"
#include "core/printable.h"

namespace adder {

namespace {

constexpr size_t kExamples = 3;

// Which columns of a table say what; -1 = not there.
struct Columns {
    int64_t name, label, split, group;

    Columns(const Table& table, const std::string& group_column)
        : name(table.find("name")),
          label(table.find("label")),
          split(table.find("split")),
          group(group_column.empty() ? table.find("group") : table.require(group_column)) {}
};

template <class... Args>
[[noreturn]] void bad(const Table& table, int64_t row, fmt::format_string<Args...> format, Args&&... args) {
    fail("[table] {}: line {}: {}", table.path(), table.line(row), fmt::format(format, std::forward<Args>(args)...));
}

const std::string& not_empty(const Table& table, int64_t row, int64_t column) {
    const std::string& text = table.at(row, column);
    if (text.empty())
        bad(table, row, "column '{}' is empty; hint: fill it or remove the row",
            table.columns()[static_cast<size_t>(column)]);
    return text;
}

SplitPart split_at(const Table& table, int64_t row, int64_t column) {
    const std::string& text = table.at(row, column);
    if (text == "train") return SplitPart::train;
    if (text == "valid") return SplitPart::valid;
    if (text == "test") return SplitPart::test;
    bad(table, row, "split '{}'; hint: write train, valid or test", text);
}

LabelRow read_row(const Table& table, int64_t row, const Columns& c) {
    LabelRow r;
    r.line = table.line(row);
    if (c.name >= 0) r.name = printable(not_empty(table, row, c.name));
    if (c.label >= 0) r.label = utf8_text(table.at(row, c.label));
    if (c.split >= 0) r.split = split_at(table, row, c.split);
    if (c.group >= 0) r.group = not_empty(table, row, c.group);
    return r;
}

// Throws for a name that stands twice.
class Names {
  public:
    void add(const Table& table, int64_t row, const std::string& name) {
        const auto [it, is_new] = lines_.emplace(name, table.line(row));
        if (!is_new) bad(table, row, "'{}' stands on line {} too; hint: names are unique", name, it->second);
    }

  private:
    std::unordered_map<std::string, int64_t> lines_;
};

const char* name_of(SplitPart part) {
    return part == SplitPart::train ? "train" : part == SplitPart::valid ? "valid" : "test";
}

// Throws for a group that is in two parts of a split.
class Groups {
  public:
    void add(const Table& table, int64_t row, const LabelRow& r) {
        if (r.group.empty() || r.split == SplitPart::none) return;
        const auto [it, is_new] = first_.emplace(r.group, First{r.split, table.line(row)});
        if (!is_new && it->second.split != r.split)
            bad(table, row, "group '{}' is in {} on line {} and in {} here; hint: a group belongs to one part", r.group,
                name_of(it->second.split), it->second.line, name_of(r.split));
    }

  private:
    struct First {
        SplitPart split;
        int64_t line;
    };
    std::unordered_map<std::string, First> first_;
};

std::optional<double> number_at(const Table& table, int64_t row, int64_t column) {
    if (column < 0 || table.at(row, column).empty()) return {};
    const std::string& text = table.at(row, column);
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < 0)
        bad(table, row, "{} '{}'; hint: a number of at least 0", table.columns()[static_cast<size_t>(column)], text);
    return value;
}

std::string from_folder_of(const std::string& manifest, const std::string& path) {
    namespace fs = std::filesystem;
    return fs::path(path).is_absolute() ? path : (fs::path(manifest).parent_path() / path).string();
}

// "3 (a, b, c)", "7 (a, b, c, ...)"
std::string with_examples(const std::vector<std::string>& names) {
    const std::vector<std::string> first(names.begin(),
                                         names.begin() + static_cast<int64_t>(std::min(names.size(), kExamples)));
    return fmt::format("{} ({}{})", names.size(), fmt::join(first, ", "), names.size() > kExamples ? ", ..." : "");
}

// Throws for the first row whose name is, behind "file:", the name of several.
void refuse_ambiguous(const LabelTable& labels, const std::vector<char>& used,
                      std::span<const std::string> names, std::string_view source) {
    std::unordered_map<std::string_view, std::vector<std::string>> bare;
    for (const std::string_view name : names)
        for (size_t colon = name.find(':'); colon != name.npos; colon = name.find(':', colon + 1))
            bare[name.substr(colon + 1)].emplace_back(name);
    for (size_t i = 0; i < used.size(); ++i) {
        const auto at = bare.find(labels.rows[i].name);
        if (used[i] || at == bare.end() || at->second.size() < 2) continue;
        fail("[labels] {}: line {}: '{}' is the name of several records of {}: {}; hint: write file:name",
             labels.path, labels.rows[i].line, labels.rows[i].name, source, with_examples(at->second));
    }
}

}  // namespace

LabelTable read_labels(const std::string& path, const std::string& group_column) {
    const Table table(path, {"name", "label"});
    table.require("name");
    const int64_t label = table.require("label");
    const Columns columns(table, group_column);
    LabelTable labels{path, {}, columns.split >= 0, columns.group >= 0};
    Names names;
    Groups groups;
    for (int64_t row = 0; row < table.n_rows(); ++row) {
        not_empty(table, row, label);
        labels.rows.push_back(read_row(table, row, columns));
        names.add(table, row, labels.rows.back().name);
        groups.add(table, row, labels.rows.back());
    }
    return labels;
}

bool looks_like_manifest(const std::string& path) {
    return looks_like_table(path, {"path", "sequence"});
}

Manifest read_manifest(const std::string& path, bool need_labels, const std::string& group_column) {
    const Table table(path, {"path", "sequence"});
    const int64_t file = table.find("path"), sequence = table.find("sequence");
    if (file >= 0 && sequence >= 0)
        fail("[table] {}: has a column 'path' and a column 'sequence'; hint: a manifest has one of them", path);
    if (file < 0 && sequence < 0)
        fail(
            "[table] {}: no column 'path' or 'sequence'; its columns: {}; hint: the first line of a manifest names its "
            "columns",
            path, fmt::join(table.columns(), ", "));
    if (need_labels) table.require("label");
    const Columns columns(table, group_column);
    const int64_t start = table.find("start"), end = table.find("end");
    Manifest manifest{path, {}, columns.split >= 0, columns.group >= 0};
    Names names;
    Groups groups;
    for (int64_t row = 0; row < table.n_rows(); ++row) {
        const std::string& content = not_empty(table, row, file >= 0 ? file : sequence);
        if (need_labels) not_empty(table, row, columns.label);
        ManifestRow r{read_row(table, row, columns), {}, {}, {}, {}};
        if (columns.name >= 0) names.add(table, row, r.name);
        if (columns.name < 0) r.name = file >= 0 ? printable(content) : fmt::format("row{}", row + 1);
        (file >= 0 ? r.path : r.sequence) = file >= 0 ? from_folder_of(path, content) : content;
        r.start = number_at(table, row, start);
        r.end = number_at(table, row, end);
        if (r.end && *r.end <= r.start.value_or(0))
            bad(table, row, "end {} is not after start {}", *r.end, r.start.value_or(0));
        groups.add(table, row, r);
        manifest.rows.push_back(std::move(r));
    }
    return manifest;
}

std::vector<std::string> classes_of(std::span<const std::string> labels) {
    const std::set<std::string> classes(labels.begin(), labels.end());
    return {classes.begin(), classes.end()};
}

std::vector<int64_t> match_labels(const LabelTable& labels, std::span<const std::string> names,
                                  std::string_view source) {
    std::unordered_map<std::string_view, int64_t> row_of;
    for (size_t i = 0; i < labels.rows.size(); ++i) row_of.emplace(labels.rows[i].name, static_cast<int64_t>(i));
    std::vector<int64_t> rows;
    std::vector<char> used(labels.rows.size(), 0);
    std::vector<std::string> twice, without_label, without_example;
    for (const std::string& name : names) {
        const auto it = row_of.find(name);
        if (it == row_of.end()) {
            without_label.push_back(name);
            continue;
        }
        char& is_used = used[static_cast<size_t>(it->second)];
        if (is_used) twice.push_back(name);
        is_used = 1;
        rows.push_back(it->second);
    }
    for (size_t i = 0; i < used.size(); ++i)
        if (!used[i]) without_example.push_back(labels.rows[i].name);
    if (!twice.empty())
        fail("[labels] {}: names that stand more than once: {}; hint: rename them", source, with_examples(twice));
    if (without_label.empty() && without_example.empty()) return rows;
    refuse_ambiguous(labels, used, names, source);
    std::string text;
    if (!without_label.empty())
        text += fmt::format("; not in {}: {} of {}", labels.path, with_examples(without_label), names.size());
    if (!without_example.empty())
        text += fmt::format("; not in {}: {} of {}", source, with_examples(without_example), labels.rows.size());
    fail("[labels] {} and {} do not match{}; hint: column 'name' holds the first word of each record's header",
         labels.path, source, text);
}

}  // namespace adder
