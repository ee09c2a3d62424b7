#include "apps/probe_options.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/error.h"

namespace adder::cli {

namespace {

// Those are what the JSON holds beside compared rows.
constexpr std::array<std::string_view, 12> kTaken = {"accuracy", "mcc",    "auroc",     "macro_f1",
                                                     "l2",       "test",   "classes",   "majority",
                                                     "kmer",     "labels", "confusion", "embedding"};

}  // namespace

OptionList ProbeOptions::list() {
    OptionList l;
    l.add({.name = "embeddings",
           .value = &embeddings,
           .unit = "FILE.h5",
           .help = "what adder embed wrote, pooled",
           .required = true,
           .is_path = true});
    l.add({.name = "labels",
           .value = &labels,
           .unit = "FILE.tsv",
           .help = "columns name, label and, where parts are fixed, split: train, valid or test",
           .required = true,
           .is_path = true});
    l.add({.name = "sequences",
           .value = &sequences,
           .unit = "PATH",
           .help = "the DNA that was embedded, for a row of k-mers",
           .is_path = true});
    l.add({.name = "regions",
           .value = &regions,
           .unit = "BED",
           .help = "the regions of them that were embedded",
           .is_path = true});
    l.add({.name = "max-k",
           .value = &most_k,
           .unit = "K",
           .help = "the longest of these k-mers",
           .range = between(1, 8)});
    l.add({.name = "group",
           .value = &group,
           .unit = "COLUMN",
           .help = "keep rows with the same value here in one part",
           .derived = "the column group, if there is one"});
    l.add({.name = "folds",
           .value = &folds,
           .unit = "N",
           .help = "parts of a table without split; each is tested once",
           .range = between(2, 100)});
    l.add({.name = "seed", .value = &seed, .unit = "K", .help = "decides what is in which part", .range = at_least(0)});
    l.add({.name = "compare",
           .value = &compare,
           .unit = "NAME=FILE.h5",
           .help = "a row for other embeddings of the same records, such as a random model's"});
    l.add({.name = "confusion",
           .value = &confusion,
           .unit = "FILE.svg",
           .help = "draw the confusion matrix",
           .is_path = true});
    l.add({.name = "overwrite", .value = &overwrite, .help = "replace the file of --confusion"});
    l.add({.name = "json", .value = &json, .help = "print one JSON object"});
    machine.add_to(l);
    l.find("device")->derived = "cpu";
    return l;
}

std::vector<std::pair<std::string, std::string>> ProbeOptions::compared() const {
    std::vector<std::pair<std::string, std::string>> rows;
    for (const std::string& text : compare) {
        const size_t equals = text.find('=');
        if (equals == 0 || equals == std::string::npos || equals + 1 == text.size())
            throw UsageError(fmt::format("--compare: expected NAME=FILE.h5, got '{}'", text));
        const std::string name = text.substr(0, equals);
        const bool twice = std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return row.first == name; });
        if (twice || std::find(kTaken.begin(), kTaken.end(), name) != kTaken.end())
            throw UsageError(fmt::format("--compare: the name '{}' is taken; hint: choose another", name));
        rows.emplace_back(name, text.substr(equals + 1));
    }
    return rows;
}

void ProbeOptions::check() const {
    if (!regions.empty() && sequences.empty()) throw UsageError("--regions: needs --sequences");
    compared();
}

}  // namespace adder::cli
