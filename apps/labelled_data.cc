#include "apps/labelled_data.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <unordered_set>

#include "apps/setup.h"
#include "datasets/labels.h"
#include "io/sha256.h"
#include "pipelines/held_out.h"
#include "pipelines/record_names.h"
#include "train/folds.h"

namespace adder {

namespace {

// What is known of a record beside its symbols.
struct Facts {
    std::vector<std::string> labels, groups;
    std::vector<SplitPart> parts;
};

// By which the table calls the records: their names, or "file:name" where it has that instead.
std::vector<std::string> names_in(const LabelTable& table, const Dataset& data) {
    std::unordered_set<std::string_view> known;
    for (const LabelRow& r : table.rows) known.insert(r.name);
    std::vector<std::string> names = qualified_names(data.records, data.files);
    for (size_t i = 0; i < names.size(); ++i)
        if (!known.count(names[i]) || known.count(data.records[i].name)) names[i] = data.records[i].name;
    return names;
}

Facts facts_of_table(const LabelledOptions& o, const Dataset& data) {
    const LabelTable table = read_labels(o.labels, o.group);
    Facts facts;
    for (const int64_t row : match_labels(table, names_in(table, data), "the input")) {
        const LabelRow& r = table.rows[static_cast<size_t>(row)];
        facts.labels.push_back(r.label);
        facts.groups.push_back(r.group);
        facts.parts.push_back(r.split);
    }
    return facts;
}

Facts facts_of_input(const Dataset& data) {
    Facts facts;
    for (const TokenRecord& r : data.records) {
        if (r.label.empty())
            fail("[labels] record {} has no label; hint: --labels names a table of them, or --input a manifest with a "
                 "column 'label'", r.name);
        facts.labels.push_back(r.label);
        facts.groups.push_back(r.group);
    }
    facts.parts.assign(data.records.size(), SplitPart::none);
    if (data.valid.empty() && data.test.empty()) return facts;
    const auto mark = [&](const std::vector<Segment>& segments, SplitPart part) {
        for (const Segment& s : segments) facts.parts[static_cast<size_t>(s.record)] = part;
    };
    mark(data.train, SplitPart::train);
    mark(data.valid, SplitPart::valid);
    mark(data.test, SplitPart::test);
    return facts;
}

// Takes a fraction of the training records to choose by.
void take_valid(Facts& facts, const std::vector<int32_t>& classes, const LabelledOptions& o) {
    const bool grouped = std::any_of(facts.groups.begin(), facts.groups.end(), [](const auto& g) { return !g.empty(); });
    std::vector<size_t> records;
    std::vector<int32_t> labels;
    std::vector<std::string> names;
    for (size_t i = 0; i < facts.parts.size(); ++i) {
        if (facts.parts[i] != SplitPart::train) continue;
        records.push_back(i);
        labels.push_back(classes[i]);
        names.push_back(facts.groups[i]);
    }
    const std::vector<int32_t> groups = grouped ? numbered(names) : std::vector<int32_t>{};
    const auto units = grouped ? 1 + *std::max_element(groups.begin(), groups.end()) : static_cast<int32_t>(labels.size());
    // Fold 0 of as many as give the fraction.
    const auto wanted = static_cast<int32_t>(std::clamp<double>(std::round(1 / o.valid_fraction), 2, 1 << 20));
    if (units < 2) return;
    const std::vector<int32_t> fold = stratified_folds(labels, groups, std::min(wanted, units), o.seed);
    // A class whose records all fell to valid could not be learned: they go back, groups whole.
    std::map<int32_t, int64_t> learned;
    for (size_t i = 0; i < fold.size(); ++i) learned[labels[i]] += fold[i] != 0;
    std::vector<char> back(static_cast<size_t>(std::max(units, 1)), 0);
    const auto unit = [&](size_t i) { return grouped ? static_cast<size_t>(groups[i]) : i; };
    for (size_t i = 0; i < fold.size(); ++i)
        if (learned[labels[i]] == 0) back[unit(i)] = 1;
    for (size_t i = 0; i < fold.size(); ++i)
        if (fold[i] == 0 && !back[unit(i)]) facts.parts[records[i]] = SplitPart::valid;
}

std::string digest_of(const Facts& facts, const Dataset& data) {
    Sha256 hash;
    const auto add = [&](const std::string& text) {
        hash.update_u64(text.size());
        hash.update(text);
    };
    for (size_t i = 0; i < facts.labels.size(); ++i) {
        add(data.records[i].name);
        add(facts.labels[i]);
        hash.update_u64(static_cast<uint64_t>(facts.parts[i]));
    }
    return hash.hex();
}

void require_learnable(const LabelledData& d) {
    for (size_t c = 0; c < d.classes.size(); ++c) {
        const auto count = [&](const std::vector<LabelledRecord>& part) {
            return std::count_if(part.begin(), part.end(), [&](const LabelledRecord& r) { return r.label == c; });
        };
        if (count(d.train) == 0)
            fail("[labels] class '{}' has no record to train on ({} valid, {} test); hint: move some to train or leave the "
                 "class out", d.classes[c], count(d.valid), count(d.test));
    }
}

// What is measured on part of the classes says little.
void warn_of_missing_classes(const LabelledData& d, const char* part, const std::vector<LabelledRecord>& records,
                             Console& console) {
    std::set<uint16_t> seen;
    for (const LabelledRecord& r : records) seen.insert(r.label);
    if (records.empty() || seen.size() == d.classes.size()) return;
    console.line(fmt::format("warning: the {} {} record{} of {} of {} classes alone: what is measured on them says little", records.size(),
                             part, records.size() == 1 ? " is" : "s are", seen.size(), d.classes.size()));
}

}  // namespace

void require_tokens(const Dataset& data) {
    std::string names;
    int64_t n = 0;
    for (const TokenRecord& r : data.records) {
        if (data.tokenizer->n_tokens(static_cast<int64_t>(r.symbols.size())) > 0) continue;
        if (++n <= 3) names += (n > 1 ? ", " : "") + r.name;
    }
    if (n > 0)
        fail("{} of {} records are too short for one {}: {}{}; hint: leave them out, --min-length {} does", n,
             data.records.size(), data.tokenizer->token(), names, n > 3 ? ", ..." : "", data.tokenizer->width());
}

LabelledData load_labelled(const Domain& domain, const DataOptions& options, const LabelledOptions& o, Console& console,
                           const OptionList& command) {
    LabelledData d;
    DataOptions reading = options;
    reading.needs_classes = false;  // a label here is what is to be found out
    d.data = domain.load(reading);
    report(console, d.data, command);
    require_tokens(d.data);
    Facts facts = o.labels.empty() ? facts_of_input(d.data) : facts_of_table(o, d.data);
    d.classes = classes_of(facts.labels);
    if (d.classes.size() < 2)
        fail("[labels] every record is of class '{}'; hint: a classifier needs two classes", d.classes.at(0));
    for (const std::string& name : d.classes)
        if (name.find_first_of("\t\r\n") != name.npos)
            fail("[labels] class '{}': a name with a tab or a line break cannot stand in a table; hint: rename it", name);
    std::vector<int32_t> classes;
    for (const std::string& label : facts.labels)
        classes.push_back(static_cast<int32_t>(std::lower_bound(d.classes.begin(), d.classes.end(), label) - d.classes.begin()));
    for (SplitPart& part : facts.parts)
        if (part == SplitPart::none) part = SplitPart::train;
    const bool has_valid = std::count(facts.parts.begin(), facts.parts.end(), SplitPart::valid) > 0;
    if (!has_valid && o.valid_fraction > 0) take_valid(facts, classes, o);

    d.data.train = d.data.valid = d.data.test = {};
    const std::vector<Segment> whole = whole_records(d.data.records);
    for (size_t i = 0; i < classes.size(); ++i) {
        const LabelledRecord r{static_cast<int64_t>(i), static_cast<uint16_t>(classes[i]), 1};
        const SplitPart part = facts.parts[i];
        (part == SplitPart::train ? d.train : part == SplitPart::valid ? d.valid : d.test).push_back(r);
        (part == SplitPart::train ? d.data.train : part == SplitPart::valid ? d.data.valid : d.data.test).push_back(whole[i]);
    }
    d.data.split_digest = digest_of(facts, d.data);
    check_parts(d.data, domain.signal ? "seconds" : "bases");
    if (const std::string shared = shared_records(d.data);
        !shared.empty() && std::ranges::count(d.data.warnings, shared) == 0)
        console.line("warning: " + shared);
    require_learnable(d);
    console.line(fmt::format("{} classes; records: train {}, valid {}, test {}", d.classes.size(), d.train.size(),
                             d.valid.size(), d.test.size()));
    warn_of_missing_classes(d, "valid", d.valid, console);
    warn_of_missing_classes(d, "test", d.test, console);
    return d;
}

}  // namespace adder
