#include "pipelines/records.h"

#include <algorithm>
#include <cmath>
#include <set>

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

Split split_by_name(std::span<const TokenRecord> records, const std::vector<std::string>& names) {
    std::set<std::string> unused(names.begin(), names.end());
    const std::set<std::string> held_out = unused;
    Split split;
    for (const Segment& s : whole_records(records)) {
        const std::string& name = records[static_cast<size_t>(s.record)].name;
        unused.erase(name);
        (held_out.count(name) ? split.valid : split.train).push_back(s);
    }
    if (!unused.empty()) {
        fail("[split] valid contigs: there is no record {}; the records are {}", *unused.begin(),
             some_names(records));
    }
    return split;
}

}  // namespace

Split split_records(std::span<const TokenRecord> records, const SplitOptions& options) {
    if (!(options.valid_fraction >= 0 && options.valid_fraction < 1)) {
        fail("[split] valid fraction: expected at least 0 and less than 1, got {}", options.valid_fraction);
    }
    if (options.gap < 0) fail("[split] gap: expected at least 0, got {}", options.gap);
    if (!options.valid_records.empty()) {
        if (options.valid_fraction > 0)
            fail("[split] give either a valid fraction or valid contigs, not both");
        return split_by_name(records, options.valid_records);
    }
    Split split;
    for (Segment s : whole_records(records)) {
        const int64_t n = s.size();
        const int64_t n_valid = std::llround(static_cast<double>(n) * options.valid_fraction);
        const int64_t gap = n_valid > 0 ? std::min(options.gap, n - n_valid) : 0;
        split.n_gap += gap;
        if (n_valid > 0) split.valid.push_back({s.record, n - n_valid, n});
        if (n - n_valid - gap > 0) split.train.push_back({s.record, 0, n - n_valid - gap});
    }
    return split;
}

std::vector<Segment> whole_records(std::span<const TokenRecord> records) {
    std::vector<Segment> segments;
    for (size_t i = 0; i < records.size(); ++i) {
        segments.push_back({static_cast<int64_t>(i), 0, static_cast<int64_t>(records[i].tokens.size())});
    }
    return segments;
}

int64_t n_tokens(std::span<const Segment> segments) {
    int64_t n = 0;
    for (const Segment& s : segments) n += s.size();
    return n;
}

std::vector<Segment> first_tokens(std::span<const Segment> segments, int64_t limit) {
    std::vector<Segment> first;
    for (Segment s : segments) {
        if (limit <= 0) break;
        s.end = s.begin + std::min(s.size(), limit);
        limit -= s.size();
        first.push_back(s);
    }
    return first;
}

std::string digest_of(std::span<const TokenRecord> records) {
    Sha256 hash;
    for (const TokenRecord& r : records) {
        hash.update_u64(r.name.size());
        hash.update(r.name);
        hash.update_u64(r.tokens.size());
        hash.update(r.tokens.data(), static_cast<int64_t>(r.tokens.size()));
    }
    return hash.hex();
}

BatchRow row_of(Batch& batch, int64_t b) {
    CHECK(b >= 0 && b < batch.B);
    const int64_t at = b * batch.L;
    return BatchRow{batch.ids.ref().ptr<uint16_t>("ids"), batch.targets.ref().ptr<uint16_t>("targets"),
                    batch.weights.ref().ptr<float>("weights"), batch.start.ref().ptr<uint8_t>("start")} +
           at;
}

void write_positions(const TokenRules& rules, std::span<const uint8_t> tokens, int64_t t0, int64_t count,
                     BatchRow to) {
    const int64_t n = static_cast<int64_t>(tokens.size());
    CHECK(t0 >= 0 && count >= 0 && t0 + count <= n);
    const uint8_t* from = tokens.data() + t0;
    const int64_t scored = std::min(count, n - 1 - t0);
    for (int64_t i = 0; i < scored; ++i) {
        to.ids[i] = from[i];
        to.targets[i] = from[i + 1];
        to.weights[i] = rules.weight[from[i + 1]];
        to.start[i] = 0;
    }
    if (scored < count) {
        to.ids[scored] = from[scored];
        to.targets[scored] = rules.pad;
        to.weights[scored] = 0;
        to.start[scored] = 0;
    }
    if (t0 == 0 && count > 0) to.start[0] = 1;
}

void write_padding(const TokenRules& rules, int64_t count, BatchRow to) {
    for (int64_t i = 0; i < count; ++i) {
        to.ids[i] = to.targets[i] = rules.pad;
        to.weights[i] = 0;
        to.start[i] = i == 0;
    }
}

}  // namespace adder
