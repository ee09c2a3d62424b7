#include "apps/probe_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

namespace adder {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostClassesInText = 12;

std::string number(double value, int width) {
    return std::isnan(value) ? fmt::format("{:>{}}", "-", width) : fmt::format("{:>{}.4f}", value, width);
}

void append_row(std::string& text, const ProbeRow& row, size_t width) {
    text += fmt::format("{:<{}}{}{}{}{}\n", row.name, width, number(row.metrics.accuracy, 10),
                        number(row.metrics.macro_f1, 10), number(row.metrics.mcc, 10), number(row.metrics.auroc, 10));
}

// NaN becomes null.
Json as_json(const ProbeRow& row) {
    Json json;
    if (row.k > 0) json["k"] = row.k;
    json["accuracy"] = row.metrics.accuracy;
    json["mcc"] = row.metrics.mcc;
    json["auroc"] = row.metrics.auroc;
    json["macro_f1"] = row.metrics.macro_f1;
    json["l2"] = row.l2;
    return json;
}

}  // namespace

ProbeRow probe_row(std::string name, const ProbeResult& result, int64_t n_classes) {
    ProbeRow row{std::move(name), classification_metrics(result.truth, result.probabilities, n_classes), {}, 0, 0};
    std::map<int64_t, int64_t> times;
    for (const ProbeChoice& choice : result.choices) {
        row.l2.push_back(choice.l2);
        ++times[choice.candidate];
    }
    if (!times.empty())
        row.candidate = std::max_element(times.begin(), times.end(), [](const auto& a, const auto& b) {
                            return a.second < b.second;
                        })->first;
    return row;
}

std::string ProbeTable::text() const {
    std::string text = heading + "\n";
    size_t width = 14;
    for (const ProbeRow& row : compared) width = std::max(width, row.name.size() + 1);
    text += fmt::format("\n{:<{}}{:>10}{:>10}{:>10}{:>10}\n", "", width, "accuracy", "macro-F1", "MCC", "AUROC");
    append_row(text, majority, width);
    for (const ProbeRow& row : kmer) append_row(text, row, width);
    for (const ProbeRow& row : compared) append_row(text, row, width);
    append_row(text, embedding, width);
    if (classes.size() > kMostClassesInText) return text;
    text += "\nconfusion of the embedding, a row for each true class:\n";
    size_t cell = 8;
    for (const std::string& c : classes) cell = std::max(cell, c.size() + 2);
    text += fmt::format("{:<{}}", "", cell);
    for (const std::string& c : classes) text += fmt::format("{:>{}}", c, cell);
    for (size_t i = 0; i < classes.size(); ++i) {
        text += fmt::format("\n{:<{}}", classes[i], cell);
        for (size_t j = 0; j < classes.size(); ++j)
            text += fmt::format("{:>{}}", embedding.metrics.confusion[i * classes.size() + j], cell);
    }
    return text + "\n";
}

Json ProbeTable::json() const {
    Json json = as_json(embedding);
    json["test"] = embedding.metrics.n;
    json["classes"] = embedding.metrics.n_classes;
    json["majority"] = majority.metrics.accuracy;
    for (const ProbeRow& row : kmer) json["kmer"] = as_json(row);
    for (const ProbeRow& row : compared) json[row.name] = as_json(row);
    json["labels"] = classes;
    Json& rows = json["confusion"] = Json::array();
    for (size_t i = 0; i < classes.size(); ++i)
        rows.push_back(
            std::vector<int64_t>(embedding.metrics.confusion.begin() + static_cast<int64_t>(i * classes.size()),
                                 embedding.metrics.confusion.begin() + static_cast<int64_t>((i + 1) * classes.size())));
    return json;
}

}  // namespace adder
