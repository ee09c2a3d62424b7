#include "pipelines/members.h"

#include <algorithm>
#include <cmath>

#include "core/ceil_div.h"
#include "core/error.h"
#include "core/rng.h"

namespace adder {

namespace {

// Rows of short records are filled up to this: long enough that ops cut a row into blocks of their own size.
constexpr int64_t kShortestRow = 2048;

}  // namespace

MemberSampler::MemberSampler(std::span<const TokenRecord> records, std::vector<LabelledRecord> members,
                             const Tokenizer& tokenizer, const MemberOptions& options)
    : records_(records), members_(std::move(members)), tokenizer_(tokenizer), options_(options) {
    if (members_.empty()) fail("[members] nothing to train on: no record with a class; hint: give more input");
    if (options.batch < 1 || options.accumulation < 1)
        fail("[members] batch, accumulation: expected at least 1, got {} and {}", options.batch, options.accumulation);
    if (!(options.reverse >= 0 && options.reverse <= 1))
        fail("[members] reverse: expected a probability, got {}", options.reverse);
    if (options.reverse > 0 && !tokenizer.two_strands())
        fail("[members] reverse: {}s have no other strand", tokenizer.token());
    if (options.stride < 1) fail("[members] stride: expected at least 1, got {}", options.stride);
    const auto batch = static_cast<size_t>(options.batch);
    std::vector<int64_t> lengths;
    for (const LabelledRecord& m : members_) {
        lengths.push_back(tokens_of(m));
        const TokenRecord& r = records_[static_cast<size_t>(m.record)];
        if (lengths.back() == 0)
            fail("[members] record {}: {} symbols are no {}; hint: leave it out", r.name, r.symbols.size(),
                 tokenizer.token());
    }
    // The longest that a batch may hold: the last of an epoch may be the first of the next one.
    std::sort(lengths.begin(), lengths.end(), std::greater<>());
    const size_t times = (batch + lengths.size() - 2) / lengths.size() + 1;  // as many epochs may meet in a batch
    int64_t total = 0;
    for (size_t i = 0; i < lengths.size() && drawn_.size() < batch; ++i)
        for (size_t k = 0; k < times && drawn_.size() < batch; ++k) {
            drawn_.push_back({0, lengths[i]});
            total += room_of(lengths[i]);
        }
    const int64_t row = std::max(room_of(lengths.front()), kShortestRow);
    rows_ = std::clamp<int64_t>(ceil_div(total, row), 1, options.batch);
    length_ = deal(drawn_, rows_of_longest_);
}

int64_t MemberSampler::room_of(int64_t tokens) const { return ceil_div(tokens, options_.stride) * options_.stride; }

int64_t MemberSampler::steps_of(double epochs) const {
    const auto step = static_cast<double>(options_.batch * options_.accumulation);
    return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(epochs * static_cast<double>(members()) / step)));
}

int64_t MemberSampler::tokens_of(const LabelledRecord& m) const {
    return tokenizer_.n_tokens(static_cast<int64_t>(records_[static_cast<size_t>(m.record)].symbols.size()));
}

int64_t MemberSampler::tokens_in(int64_t step) const {
    const int64_t n = options_.accumulation * options_.batch;
    int64_t total = 0;
    for (int64_t i = step * n; i < (step + 1) * n; ++i) total += tokens_of(member(i));
    return total;
}

const LabelledRecord& MemberSampler::member(int64_t number) const {
    const int64_t n = members(), epoch = number / n;
    const Permutation order(n, Philox(options_.seed, Stream::windows).u64(static_cast<uint64_t>(epoch)));
    return members_[static_cast<size_t>(order(number % n))];
}

int64_t MemberSampler::deal(std::span<const Drawn> drawn, std::vector<int64_t>& rows) {
    rows.resize(drawn.size());
    filled_.assign(static_cast<size_t>(rows_), 0);
    heap_.resize(static_cast<size_t>(rows_));
    for (int64_t b = 0; b < rows_; ++b) heap_[static_cast<size_t>(b)] = b;
    // The row with the least on top; of equal ones the first.
    const auto later = [&](int64_t a, int64_t b) {
        const int64_t x = filled_[static_cast<size_t>(a)], y = filled_[static_cast<size_t>(b)];
        return x != y ? x > y : a > b;
    };
    int64_t longest = 0;
    for (size_t i = 0; i < drawn.size(); ++i) {
        std::pop_heap(heap_.begin(), heap_.end(), later);
        rows[i] = heap_.back();
        int64_t& filled = filled_[static_cast<size_t>(rows[i])];
        filled += room_of(drawn[i].tokens);
        longest = std::max(longest, filled);
        std::push_heap(heap_.begin(), heap_.end(), later);
    }
    return longest;
}

void MemberSampler::write(const Drawn& d, BatchRow to) {
    const LabelledRecord& m = member(d.number);
    const Philox random(options_.seed, Stream::augment);
    const bool reverse = options_.reverse > 0 && random.uniform(static_cast<uint64_t>(d.number)) < options_.reverse;
    tokenizer_.write(records_[static_cast<size_t>(m.record)].symbols, 0, d.tokens, reverse, to.ids, to.weights);
    std::fill_n(to.targets, d.tokens, m.label);
    std::fill_n(to.weights, d.tokens, 0.0f);
    std::fill_n(to.start, d.tokens, uint8_t{0});
    to.start[0] = 1;
    to.weights[d.tokens - 1] = m.weight;
    write_padding(tokenizer_, room_of(d.tokens) - d.tokens, to + d.tokens, false);
}

void MemberSampler::fill(int64_t step, int64_t micro_batch, Batch& batch) {
    CHECK(batch.B == rows_ && batch.L == length_ && micro_batch >= 0 && micro_batch < options_.accumulation);
    const int64_t first = (step * options_.accumulation + micro_batch) * options_.batch;
    drawn_.resize(static_cast<size_t>(options_.batch));
    for (int64_t i = 0; i < options_.batch; ++i)
        drawn_[static_cast<size_t>(i)] = {first + i, tokens_of(member(first + i))};
    std::sort(drawn_.begin(), drawn_.end(), [](const Drawn& a, const Drawn& b) {
        return a.tokens != b.tokens ? a.tokens > b.tokens : a.number < b.number;
    });
    batch.filled = deal(drawn_, row_of_);
    // Dealing well is no guarantee: the i-th longest of any batch is no longer than the i-th longest of all.
    const std::vector<int64_t>& rows = batch.filled <= length_ ? row_of_ : rows_of_longest_;
    filled_.assign(static_cast<size_t>(rows_), 0);
    for (size_t i = 0; i < drawn_.size(); ++i) {
        int64_t& filled = filled_[static_cast<size_t>(rows[i])];
        const int64_t room = room_of(drawn_[i].tokens);
        CHECK(filled + room <= length_);
        write(drawn_[i], row_of(batch, rows[i]) + filled);
        filled += room;
    }
    batch.filled = *std::max_element(filled_.begin(), filled_.end());
    for (int64_t b = 0; b < rows_; ++b) {
        const int64_t at = filled_[static_cast<size_t>(b)];
        write_padding(tokenizer_, length_ - at, row_of(batch, b) + at);
    }
}

}  // namespace adder
