#include "apps/target_tiles.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "core/ceil_div.h"
#include "core/error.h"

namespace adder {

namespace {

// Products on the CPU are cut at multiples of so many tokens, so that a row may end there without a change to
// its bits.
constexpr int64_t kBlock = 256;
// A record's padding makes it a multiple of this.
constexpr int64_t kShortest = 16;
// Records among which those of one length are looked for.
constexpr size_t kWindow = 8192;

int64_t round_up(int64_t n, int64_t to) {
    return ceil_div(n, to) * to;
}

}  // namespace

TargetTiles::TargetTiles(const Tokenizer& tokenizer, std::span<const TokenRecord> records,
                         std::span<const Segment> targets, const TilePlan& plan)
    : tokenizer_(tokenizer), records_(records), targets_(targets), plan_(plan), by_record_(targets.size()) {
    std::iota(by_record_.begin(), by_record_.end(), int64_t{0});
    std::stable_sort(by_record_.begin(), by_record_.end(), [&](int64_t i, int64_t j) {
        const Segment &a = targets_[static_cast<size_t>(i)], &b = targets_[static_cast<size_t>(j)];
        return a.record != b.record ? a.record < b.record : a.begin < b.begin;
    });
    while (const auto member = next_member()) in_all_ += member->reads;
    next_target_ = 0;
    set_tile(plan.tile, plan.rows);
}

void TargetTiles::set_tile(int64_t tile, int64_t rows) {
    CHECK(tile >= 1 && rows >= 1 && given_ == 0 && (tile % plan_.stride == 0 || tile >= in_all_));
    plan_.tile = tile;
    plan_.rows = rows;
    weights_.resize(static_cast<size_t>(std::min(tile, in_all_)));
}

TargetTiles::Run TargetTiles::run_of(const Member& member, int64_t target) const {
    const Segment& t = targets_[static_cast<size_t>(target)];
    return member.reverse ? Run{member.length - t.end, member.length - t.begin} : Run{t.begin, t.end};
}

// How far a record is read. All its bits follow from its length: what is not read would change none.
int64_t TargetTiles::padded(int64_t length, int64_t needed) const {
    if (plan_.packed) return round_up(needed, plan_.stride);
    const auto eighth = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(length)) / 8);
    return std::min(round_up(length, std::clamp(eighth, kShortest, kBlock)), round_up(needed, kBlock));
}

TargetTiles::Member TargetTiles::member_at(size_t first, bool reverse) const {
    const auto target = [&](size_t i) -> const Segment& {
        return targets_[static_cast<size_t>(by_record_[i])];
    };
    Member m;
    m.record = target(first).record;
    m.reverse = reverse;
    m.first = m.last = first;
    m.length =
        tokenizer_.n_tokens(static_cast<int64_t>(records_[static_cast<size_t>(m.record)].symbols.size()));
    int64_t needed = 0;
    for (; m.last < by_record_.size() && target(m.last).record == m.record; ++m.last) {
        const Run run = run_of(m, by_record_[m.last]);
        CHECK(run.begin >= 0 && run.begin < run.end && run.end <= m.length);
        needed = std::max(needed, run.end);
    }
    m.reads = padded(m.length, needed);
    return m;
}

std::optional<TargetTiles::Member> TargetTiles::next_member() {
    if (next_target_ == by_record_.size()) return std::nullopt;
    const Member m = member_at(next_target_, next_reverse_);
    if (next_reverse_ || !plan_.two_strands) next_target_ = m.last;
    next_reverse_ = plan_.two_strands && !next_reverse_;
    return m;
}

bool TargetTiles::next_of_window(Member& member) {
    if (window_.empty()) {
        const size_t most = plan_.in_order ? 1 : kWindow;
        while (window_.size() < most) {
            const auto m = next_member();
            if (!m) break;
            window_.push_back(*m);
        }
        std::stable_sort(window_.begin(), window_.end(),
                         [](const Member& a, const Member& b) { return a.reads < b.reads; });
        std::reverse(window_.begin(), window_.end());
    }
    if (window_.empty()) return false;
    member = window_.back();
    window_.pop_back();
    return true;
}

TargetTiles::Reading TargetTiles::begin(const Member& member) const {
    Reading r;
    r.member = member;
    r.targets.assign(by_record_.begin() + static_cast<int64_t>(member.first),
                     by_record_.begin() + static_cast<int64_t>(member.last));
    std::stable_sort(r.targets.begin(), r.targets.end(),
                     [&](int64_t a, int64_t b) { return run_of(member, a).begin < run_of(member, b).begin; });
    return r;
}

// The next `count` tokens of a member into `row` from place `at` on.
void TargetTiles::give(Reading& reading, int64_t count, int64_t row, int64_t at, TargetTile& tile) {
    const Member& m = reading.member;
    const int64_t from = reading.at, until = from + count;
    uint16_t* ids = tile.ids.data() + row * tile.n + at;
    const int64_t real = std::clamp<int64_t>(m.length - from, 0, count);
    if (real > 0)
        tokenizer_.write(records_[static_cast<size_t>(m.record)].symbols,
                         m.reverse ? m.length - from - real : from, real, m.reverse, ids, weights_.data());
    std::fill(ids + real, ids + count, tokenizer_.pad());
    uint8_t* start = tile.start.data() + row * tile.n + at;
    std::fill(start, start + count, uint8_t{0});
    start[0] = from == 0;
    while (reading.next < reading.targets.size() && run_of(m, reading.targets[reading.next]).begin < until)
        reading.open.push_back(reading.targets[reading.next++]);
    std::erase_if(reading.open, [&](int64_t target) {
        const Run run = run_of(m, target);
        const int64_t first = std::max(run.begin, from), last = std::min(run.end, until);
        tile.pieces.push_back(
            {target, m.reverse, row, at + first - from, last - first, first - run.begin, run.end <= until});
        return run.end <= until;
    });
    reading.at = until;
    given_ += count;
}

bool TargetTiles::next_packed(TargetTile& tile) {
    tile.rows = 1;
    tile.t0 = given_;
    tile.n = std::min(plan_.tile, in_all_ - given_);
    if (tile.n == 0) return false;
    tile.ids.resize(static_cast<size_t>(tile.n));
    tile.start.resize(static_cast<size_t>(tile.n));
    for (int64_t filled = 0; filled < tile.n;) {
        if (!reading_) reading_ = begin(next_member().value());
        const int64_t count = std::min(tile.n - filled, reading_->member.reads - reading_->at);
        give(*reading_, count, 0, filled, tile);
        filled += count;
        if (reading_->at == reading_->member.reads) reading_.reset();
    }
    return true;
}

bool TargetTiles::next_rows(TargetTile& tile) {
    const auto shape = [&](int64_t rows, int64_t n, int64_t t0) {
        tile.rows = rows;
        tile.n = n;
        tile.t0 = t0;
        tile.ids.resize(static_cast<size_t>(rows * n));
        tile.start.resize(static_cast<size_t>(rows * n));
    };
    Member member;
    if (!reading_) {
        if (!next_of_window(member)) return false;
        if (member.reads > plan_.tile) reading_ = begin(member);
    }
    if (reading_) {
        shape(1, std::min(plan_.tile, reading_->member.reads - reading_->at), reading_->at);
        give(*reading_, tile.n, 0, 0, tile);
        if (reading_->at == reading_->member.reads) reading_.reset();
        return true;
    }
    std::vector<Member> together{member};
    const int64_t most = std::clamp<int64_t>(plan_.tile / member.reads, 1, plan_.rows);
    while (static_cast<int64_t>(together.size()) < most && next_of_window(member)) {
        if (member.reads != together[0].reads) {
            window_.push_back(member);
            break;
        }
        together.push_back(member);
    }
    shape(static_cast<int64_t>(together.size()), together[0].reads, 0);
    for (size_t row = 0; row < together.size(); ++row) {
        Reading whole = begin(together[row]);
        give(whole, tile.n, static_cast<int64_t>(row), 0, tile);
    }
    return true;
}

bool TargetTiles::next(TargetTile& tile) {
    tile.pieces.clear();
    return plan_.packed ? next_packed(tile) : next_rows(tile);
}

}  // namespace adder
