#include "pipelines/held_out.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <unordered_set>

#include "core/error.h"
#include "io/file.h"

namespace adder {

namespace {

constexpr std::array kParts{&Dataset::train, &Dataset::valid, &Dataset::test};
constexpr std::array<const char*, kParts.size()> kUses{"trained on", "held out", "tested with"};

// A segment where it is in the file.
struct Place {
    int64_t sequence;
    double begin, end;
    size_t part;  // index of kParts
    const TokenRecord* record;
};

Place place_of(const TokenRecord& r, const Segment& s, size_t part) {
    const auto n = static_cast<int64_t>(r.symbols.size());
    const double step = (r.origin.end - r.origin.begin) / static_cast<double>(n);
    const auto at = [&](int64_t i) { return i == n ? r.origin.end : r.origin.begin + static_cast<double>(i) * step; };
    return {r.origin.sequence, at(s.begin), at(s.end), part, &r};
}

// The segments of sequences that several records are of, in order.
std::vector<Place> shared_sequences(const Dataset& data) {
    std::vector<char> times;  // that a sequence is a record: 0, 1, or 2 for several
    if (!data.valid.empty() || !data.test.empty())
        for (const TokenRecord& r : data.records) {
            if (r.origin.sequence < 0) continue;
            const auto i = static_cast<size_t>(r.origin.sequence);
            if (i >= times.size()) times.resize(std::max(i + 1, times.size() * 2));
            times[i] = times[i] ? 2 : 1;
        }
    std::vector<Place> places;
    if (std::ranges::find(times, 2) == times.end()) return places;
    for (size_t part = 0; part < kParts.size(); ++part)
        for (const Segment& s : data.*kParts[part]) {
            const TokenRecord& r = data.records[static_cast<size_t>(s.record)];
            if (r.origin.sequence < 0 || times[static_cast<size_t>(r.origin.sequence)] < 2 || s.size() == 0) continue;
            places.push_back(place_of(r, s, part));
        }
    std::ranges::sort(places, [](const Place& a, const Place& b) {
        return std::pair(a.sequence, a.begin) < std::pair(b.sequence, b.begin);
    });
    return places;
}

}  // namespace

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

int64_t SequenceNumbers::first_of(const std::string& file, int64_t n) {
    const auto [at, fresh] = first_.try_emplace({canonical_file(file), n}, next_);
    if (fresh) next_ += n;
    return at->second;
}

void add_held_out(std::vector<TokenRecord> records, Split& split, Dataset& data) {
    data.valid_digest = digest_of(records);
    data.n_held_out = std::ssize(records);
    for (TokenRecord& record : records) {
        split.valid.push_back({std::ssize(data.records), 0, std::ssize(record.symbols)});
        data.records.push_back(std::move(record));
    }
}

void check_parts(const Dataset& data, const char* unit) {
    const std::vector<Place> places = shared_sequences(data);
    std::array<const Place*, kParts.size()> furthest{};  // of each part the one that ends last so far
    for (const Place& p : places) {
        for (const Place* other : furthest) {
            if (!other || other->part == p.part || other->sequence != p.sequence || other->end <= p.begin) continue;
            const auto& [first, second] =
                std::minmax(p, *other, [](const Place& a, const Place& b) { return a.part < b.part; });
            fail("[split] {}: {} {} to {} of one sequence are both {} (record {}) and {} (record {}); hint: what "
                 "overlaps belongs to one part",
                 data.files[static_cast<size_t>(p.record->file)], unit, p.begin, std::min(p.end, other->end),
                 kUses[first.part], first.record->name, kUses[second.part], second.record->name);
        }
        const Place*& kept = furthest[p.part];
        if (!kept || kept->sequence != p.sequence || kept->end < p.end) kept = &p;
    }
}

std::string shared_records(const Dataset& data) {
    const auto text_of = [&](const Segment& s) {
        const std::span<const uint8_t> symbols = member_of(data.records, s).symbols;
        return std::string_view(reinterpret_cast<const char*>(symbols.data()), symbols.size());
    };
    std::unordered_set<std::string_view> held_out, shared;
    std::unordered_set<int64_t> sizes;  // others need not be hashed
    for (const auto* part : {&data.valid, &data.test})
        for (const Segment& s : *part) {
            held_out.insert(text_of(s));
            sizes.insert(s.size());
        }
    std::string example;
    for (const Segment& s : data.train) {
        if (!sizes.count(s.size()) || !held_out.count(text_of(s)) || !shared.insert(text_of(s)).second) continue;
        if (example.empty()) example = data.records[static_cast<size_t>(s.record)].name;
    }
    if (shared.empty()) return "";
    return fmt::format("{} held-out sequence{} also trained on, {} for one: the held-out loss says less of others",
                       shared.size(), shared.size() == 1 ? " is" : "s are", example);
}

}  // namespace adder
