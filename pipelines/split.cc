#include "pipelines/split.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "datasets/intervals.h"
#include "io/sha256.h"
#include "pipelines/record_names.h"

namespace adder {

namespace {

enum class Part : char { train, valid, test };

std::vector<Segment>& part_of(Split& split, Part part) {
    return part == Part::train ? split.train : part == Part::valid ? split.valid : split.test;
}

Split split_by_name(std::span<const TokenRecord> records, std::span<const std::string> files, const SplitOptions& o) {
    const RecordNames names(records, files);
    std::vector<Part> parts(records.size(), Part::train);
    for (const std::string& name : o.valid_records)
        parts[static_cast<size_t>(names.find(name, "held-out contigs"))] = Part::valid;
    for (const std::string& name : o.test_records) {
        Part& part = parts[static_cast<size_t>(names.find(name, "contigs for testing"))];
        if (part == Part::valid) fail("[split] contig {}: is named both for validation and for testing", name);
        part = Part::test;
    }
    Split split;
    for (const Segment& s : whole_records(records)) part_of(split, parts[static_cast<size_t>(s.record)]).push_back(s);
    return split;
}

struct Placed {
    Segment segment;
    Part part;
    int64_t line;
};

// The intervals of the file on the records, in order.
std::vector<Placed> placed_intervals(std::span<const TokenRecord> records, std::span<const std::string> files,
                                     const std::string& path) {
    const BedFile bed = read_bed(path);
    std::vector<int64_t> lengths;
    for (const TokenRecord& r : records) lengths.push_back(static_cast<int64_t>(r.symbols.size()));
    const std::vector<int64_t> at = locate(bed, qualified_names(records, files), lengths);
    std::vector<Placed> placed;
    for (size_t i = 0; i < at.size(); ++i) {
        const Interval& b = bed.intervals[i];
        const bool train = b.split == "train", valid = b.split == "valid";
        if (!train && !valid && b.split != "test")
            fail("[split] {}, line {}: expected train, valid or test in column 'split' (or 4), got '{}'", path, b.line,
                 b.split);
        placed.push_back({{at[i], b.begin, b.end}, train ? Part::train : valid ? Part::valid : Part::test, b.line});
    }
    std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
        return std::pair(a.segment.record, a.segment.begin) < std::pair(b.segment.record, b.segment.begin);
    });
    return placed;
}

Split split_by_intervals(std::span<const TokenRecord> records, std::span<const std::string> files,
                         const std::string& path) {
    Split split;
    split.n_unused = n_symbols(whole_records(records));
    std::array<const Placed*, 3> furthest{};  // of each part the one that ends last so far
    const std::vector<Placed> placed = placed_intervals(records, files, path);
    for (const Placed& p : placed) {
        const auto reaches = [&](const Placed* before, int64_t place) {
            return before && before->segment.record == p.segment.record && before->segment.end >= place;
        };
        for (const Placed* other : furthest)
            if (other && other->part != p.part && reaches(other, p.segment.begin + 1))
                fail(
                    "[split] {}, line {}: overlaps line {}, which is for another part; hint: every base "
                    "belongs to one part "
                    "at most",
                    path, std::max(p.line, other->line), std::min(p.line, other->line));
        std::vector<Segment>& part = part_of(split, p.part);
        const Placed*& before = furthest[static_cast<size_t>(p.part)];
        const bool joined = reaches(before, p.segment.begin);
        const int64_t end = joined ? std::max(before->segment.end, p.segment.end) : p.segment.end;
        split.n_unused -= end - (joined ? before->segment.end : p.segment.begin);
        if (joined)
            part.back().end = end;
        else
            part.push_back(p.segment);
        if (!joined || p.segment.end == end) before = &p;
    }
    return split;
}

// A place in [0, 1) that a name alone decides: FNV-1a (Fowler, Noll, Vo), whose upper bits MurmurHash3's last
// steps mix.
double place_of(std::string_view name) {
    uint64_t hash = 0xcbf29ce484222325;
    for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccd;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53;
    hash ^= hash >> 33;
    return static_cast<double>(hash >> 11) * 0x1p-53;
}

// By what a read comes into a part: the two mates of a pair are one fragment.
std::string_view fragment_of(const TokenRecord& r, std::span<const std::string> labels) {
    if (!r.group.empty()) return r.group;
    const std::string_view name = bare_name(r, labels);
    return name.ends_with("/1") || name.ends_with("/2") ? name.substr(0, name.size() - 2) : name;
}

Split split_by_fractions(std::span<const TokenRecord> records, std::span<const std::string> files,
                         const SplitOptions& o) {
    Split split;
    const std::vector<std::string> labels = file_labels(files);
    for (const Segment& s : whole_records(records)) {
        if (const TokenRecord& r = records[static_cast<size_t>(s.record)]; r.is_read) {
            const double left = 1 - place_of(fragment_of(r, labels));  // in (0, 1]
            const bool test = left <= o.test_fraction, valid = left <= o.test_fraction + o.valid_fraction;
            part_of(split, test ? Part::test : valid ? Part::valid : Part::train).push_back(s);
            continue;
        }
        int64_t end = s.size();
        // The last `fraction` of the record that is left, and the gap before it.
        const auto cut = [&](double fraction, std::vector<Segment>& part) {
            const int64_t n = std::min<int64_t>(std::llround(static_cast<double>(s.size()) * fraction), end);
            if (n == 0) return;
            part.push_back({s.record, end - n, end});
            const int64_t gap = std::min(o.gap, end - n);
            split.n_unused += gap;
            end -= n + gap;
        };
        cut(o.test_fraction, split.test);
        cut(o.valid_fraction, split.valid);
        if (end > 0) split.train.push_back({s.record, 0, end});
    }
    return split;
}

void check_range(const char* what, double fraction) {
    if (!(fraction >= 0 && fraction < 1))
        fail("[split] {} fraction: expected at least 0 and less than 1, got {}", what, fraction);
}

}  // namespace

Split split_records(std::span<const TokenRecord> records, std::span<const std::string> files,
                    const SplitOptions& o) {
    check_range("valid", o.valid_fraction);
    check_range("test", o.test_fraction);
    check_range("held-out", o.valid_fraction + o.test_fraction);
    if (o.gap < 0) fail("[split] gap: expected at least 0, got {}", o.gap);
    const bool by_name = !o.valid_records.empty() || !o.test_records.empty();
    const bool by_fraction = o.valid_fraction > 0 || o.test_fraction > 0;
    if (by_name + by_fraction + !o.bed.empty() > 1)
        fail("[split] give either fractions or contigs or intervals, not several of them");
    if (by_name) return split_by_name(records, files, o);
    if (!o.bed.empty()) return split_by_intervals(records, files, o.bed);
    return split_by_fractions(records, files, o);
}

std::string digest_of(const Split& split, std::span<const TokenRecord> records) {
    Sha256 hash;
    for (const auto* part : {&split.train, &split.valid, &split.test}) {
        hash.update_u64(part->size());
        for (const Segment& s : *part) {
            const std::string& name = records[static_cast<size_t>(s.record)].name;
            hash.update_u64(name.size());
            hash.update(name);
            hash.update_u64(static_cast<uint64_t>(s.begin));
            hash.update_u64(static_cast<uint64_t>(s.end));
        }
    }
    return hash.hex();
}

}  // namespace adder
