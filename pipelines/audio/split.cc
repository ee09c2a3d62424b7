#include "pipelines/audio/split.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"
#include "datasets/file_pattern.h"
#include "io/sha256.h"
#include "pipelines/audio/codec.h"

namespace adder::audio {

namespace {

std::string hash_of(const std::string& name) {
    Sha256 hash;
    hash.update(name);
    return hash.hex();
}

// Parts of whole records to segments.
Split from_parts(std::span<const TokenRecord> records, std::span<const SplitPart> parts) {
    Split split;
    for (const Segment& s : whole_records(records)) {
        const SplitPart part = parts[static_cast<size_t>(s.record)];
        (part == SplitPart::valid  ? split.valid
         : part == SplitPart::test ? split.test
                                   : split.train)
            .push_back(s);
    }
    return split;
}

std::vector<SplitPart> by_choice(std::span<const TokenRecord> records, std::span<const RecordFacts> facts,
                                 const AudioOptions& o) {
    std::vector<SplitPart> parts(records.size(), SplitPart::train);
    const auto mark = [&](const char* option, const std::string& text, SplitPart part) {
        if (text.empty()) return;
        const FieldChoice choice(option, text);
        int64_t n = 0;
        for (size_t i = 0; i < records.size(); ++i) {
            const auto field = facts[i].fields.find(choice.field());
            if (field == facts[i].fields.end())
                fail(
                    "[split] --{} {}: record {} has no field '{}'; hint: --pattern names the fields of file "
                    "names",
                    option, text, records[i].name, choice.field());
            if (!choice.holds(field->second)) continue;
            if (parts[i] != SplitPart::train)
                fail(
                    "[split] record {}: fits --valid-where and --test-where; hint: a record belongs to one "
                    "part",
                    records[i].name);
            parts[i] = part;
            ++n;
        }
        if (n == 0) fail("[split] --{} {}: no record fits; hint: check the values", option, text);
    };
    mark("valid-where", o.valid_where, SplitPart::valid);
    mark("test-where", o.test_where, SplitPart::test);
    return parts;
}

// What a split keeps together.
std::string unit_of(const TokenRecord& r, std::span<const std::string> files) {
    return r.group.empty() ? "file " + files[static_cast<size_t>(r.file)] : "group " + r.group;
}

// What is hashed of the first record of a unit: a file's name does not depend on the folder that it lies in.
std::string key_of(const TokenRecord& r) {
    return r.group.empty() ? r.name.substr(0, r.name.find('#')) : r.group;
}

std::vector<SplitPart> by_units(std::span<const TokenRecord> records, std::span<const std::string> files,
                                const std::map<std::string, int64_t>& unit_sizes, const DataOptions& o) {
    std::map<std::string, std::string> keys;  // hash -> unit
    std::set<std::string> seen;
    for (const TokenRecord& r : records) {
        const std::string unit = unit_of(r, files);
        if (seen.insert(unit).second) keys.emplace(hash_of(key_of(r)) + unit, unit);
    }
    std::map<std::string, SplitPart> part_of;
    auto next = keys.begin();
    const auto take = [&](double fraction, SplitPart part) {
        const double wanted = fraction * static_cast<double>(records.size());
        double taken = 0;
        // The unit behind the last one is for training.
        for (bool first = true; fraction > 0 && std::next(next) != keys.end(); first = false, ++next) {
            const auto n = static_cast<double>(unit_sizes.at(next->second));
            if (!first && std::abs(taken + n - wanted) >= std::abs(taken - wanted)) break;
            part_of[next->second] = part;
            taken += n;
        }
    };
    take(o.valid_fraction, SplitPart::valid);
    take(o.test_fraction, SplitPart::test);
    std::vector<SplitPart> parts;
    for (const TokenRecord& r : records) {
        const auto it = part_of.find(unit_of(r, files));
        parts.push_back(it == part_of.end() ? SplitPart::train : it->second);
    }
    return parts;
}

// A cut lies between samples.
void align(Split& split, int64_t width) {
    for (auto* part : {&split.train, &split.valid, &split.test})
        for (Segment& s : *part) {
            s.begin -= s.begin % width;
            s.end -= s.end % width;
        }
}

void shuffle(std::span<const TokenRecord> records, std::vector<Segment>& segments) {
    std::vector<std::pair<std::string, Segment>> keyed;
    for (const Segment& s : segments)
        keyed.emplace_back(hash_of(records[static_cast<size_t>(s.record)].name), s);
    std::stable_sort(keyed.begin(), keyed.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (size_t i = 0; i < keyed.size(); ++i) segments[i] = keyed[i].second;
}

}  // namespace

Split split_audio(std::span<const TokenRecord> records, std::span<const std::string> files,
                  std::span<const RecordFacts> facts, bool has_parts, const DataOptions& o) {
    Split result;
    if (!o.split_bed.empty())
        fail(
            "[split] --split-bed: audio has no intervals of bases; hint: a manifest has columns start, end "
            "and split");
    if (has_parts && (o.splits() || !o.valid.empty()))
        fail(
            "[split] the manifest says which part its rows belong to; hint: give no other split, or leave "
            "its column out");
    std::map<std::string, int64_t> unit_sizes;
    for (const TokenRecord& r : records) ++unit_sizes[unit_of(r, files)];
    const bool by_fraction = o.valid_fraction > 0 || o.test_fraction > 0;
    const bool whole = by_fraction && unit_sizes.size() > 1;
    if (has_parts) {
        std::vector<SplitPart> parts;
        for (const RecordFacts& f : facts) parts.push_back(f.part);
        result = from_parts(records, parts);
    } else if (o.audio.splits()) {
        result = from_parts(records, by_choice(records, facts, o.audio));
    } else if (whole) {
        if (o.gap > 0)
            fail("[split] --gap: whole files are held out, there is no gap between them; hint: leave it out");
        result = from_parts(records, by_units(records, files, unit_sizes, o));
    } else {
        SplitOptions split = o.split();
        const int64_t width = symbols_per_sample(codec_of(o.audio.resolved().codec));
        split.gap *= width;
        result = split_records(records, files, split);
        align(result, width);
    }
    if (result.train.empty())
        fail("[split] nothing is left to train on: {} records are held out; hint: hold out less",
             records.size());
    shuffle(records, result.valid);
    shuffle(records, result.test);
    return result;
}

std::vector<std::string> warnings_of_split(std::span<const TokenRecord> records, const Split& split) {
    std::set<std::string> trained, divided;
    std::set<int32_t> trained_files;
    bool grouped = true, other_files = false;
    const auto record_of = [&](const Segment& s) -> const TokenRecord& {
        return records[static_cast<size_t>(s.record)];
    };
    for (const Segment& s : split.train) {
        trained.insert(record_of(s).group);
        trained_files.insert(record_of(s).file);
        grouped = grouped && !record_of(s).group.empty();
    }
    for (const auto* part : {&split.valid, &split.test})
        for (const Segment& s : *part) {
            const TokenRecord& r = record_of(s);
            grouped = grouped && !r.group.empty();
            other_files = other_files || !trained_files.count(r.file);
            if (!r.group.empty() && trained.count(r.group)) divided.insert(r.group);
        }
    std::vector<std::string> warnings;
    if (other_files && !grouped)
        warnings.push_back(
            "no groups: files of one speaker may be both trained on and held out; hint: --pattern "
            "'{label}_{group}_{take}' or a manifest's column 'group' tells speakers apart");
    if (divided.empty()) return warnings;
    const std::string names = fmt::format("{}", fmt::join(divided, ", "));
    warnings.push_back(
        fmt::format("{} group{} both trained on and held out ({}): the held-out loss says little of others",
                    divided.size(), divided.size() == 1 ? " is" : "s are",
                    names.size() > 60 ? names.substr(0, 57) + "..." : names));
    return warnings;
}

}  // namespace adder::audio
