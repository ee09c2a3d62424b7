#include "pipelines/split.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "io/sha256.h"

namespace adder {

namespace {

// The names that exist, as far as they fit into a message.
std::string some_names(std::span<const TokenRecord> records) {
    constexpr size_t kShown = 8;
    std::string text;
    for (size_t i = 0; i < std::min(records.size(), kShown); ++i) text += (i ? ", " : "") + records[i].name;
    return records.size() > kShown ? fmt::format("{} and {} more", text, records.size() - kShown) : text;
}

Split split_by_name(std::span<const TokenRecord> records, const SplitOptions& o) {
    enum Part { valid, test };
    std::map<std::string, Part> held_out;
    for (const std::string& name : o.valid_records) held_out[name] = valid;
    for (const std::string& name : o.test_records)
        if (!held_out.emplace(name, test).second && held_out[name] == valid)
            fail("[split] contig {}: is named both for validation and for testing", name);
    std::map<std::string, Part> unused = held_out;
    Split split;
    for (const Segment& s : whole_records(records)) {
        const std::string& name = records[static_cast<size_t>(s.record)].name;
        unused.erase(name);
        const auto part = held_out.find(name);
        (part == held_out.end() ? split.train : part->second == valid ? split.valid : split.test).push_back(s);
    }
    if (!unused.empty())
        fail("[split] held-out contigs: there is no record {}; the records are {}", unused.begin()->first,
             some_names(records));
    return split;
}

void check_range(const char* what, double fraction) {
    if (!(fraction >= 0 && fraction < 1))
        fail("[split] {} fraction: expected at least 0 and less than 1, got {}", what, fraction);
}

}  // namespace

Split split_records(std::span<const TokenRecord> records, const SplitOptions& o) {
    check_range("valid", o.valid_fraction);
    check_range("test", o.test_fraction);
    check_range("held-out", o.valid_fraction + o.test_fraction);
    if (o.gap < 0) fail("[split] gap: expected at least 0, got {}", o.gap);
    if (!o.valid_records.empty() || !o.test_records.empty()) {
        if (o.valid_fraction > 0 || o.test_fraction > 0) fail("[split] give either fractions or contigs, not both");
        return split_by_name(records, o);
    }
    Split split;
    for (const Segment& s : whole_records(records)) {
        int64_t end = s.size();
        // The last `fraction` of the record that is left, and the gap before it.
        const auto cut = [&](double fraction, std::vector<Segment>& part) {
            const int64_t n = std::min<int64_t>(std::llround(static_cast<double>(s.size()) * fraction), end);
            if (n == 0) return;
            part.push_back({s.record, end - n, end});
            const int64_t gap = std::min(o.gap, end - n);
            split.n_gap += gap;
            end -= n + gap;
        };
        cut(o.test_fraction, split.test);
        cut(o.valid_fraction, split.valid);
        if (end > 0) split.train.push_back({s.record, 0, end});
    }
    return split;
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
