#include "pipelines/windows.h"

#include <algorithm>
#include <utility>

#include "core/ceil_div.h"
#include "core/error.h"
#include "core/rng.h"
#include "pipelines/permutation.h"

namespace adder {

namespace {

constexpr int64_t kMaxBatchTokens = int64_t{1} << 48;  // far beyond any memory; keeps the products below exact

void check_stages(const WindowOptions& o) {
    if (o.stages.empty()) fail("[windows] stages: expected at least one");
    if (o.accumulation < 1) fail("[windows] accumulation: expected at least 1, got {}", o.accumulation);
    const LengthStage& first = o.stages[0];
    for (size_t i = 0; i < o.stages.size(); ++i) {
        const LengthStage& s = o.stages[i];
        if (s.L < 1 || s.B < 1)
            fail("[windows] stage {}: expected L and B of at least 1, got {} and {}", i, s.L, s.B);
        if (s.L > kMaxBatchTokens / s.B)
            fail("[windows] stage {}: expected at most {} tokens in a batch, got {} x {}", i, kMaxBatchTokens, s.B, s.L);
        if (s.L * s.B != first.L * first.B)
            fail("[windows] stage {}: expected B L = {} as in the first, got {} x {}", i, first.L * first.B, s.B, s.L);
        if (o.stride < 1 || s.L % o.stride != 0)
            fail("[windows] stage {}: a length of {} is not a multiple of {}", i, s.L, o.stride);
        const int64_t before = i ? o.stages[i - 1].until_step : 0;
        if (s.until_step <= before)
            fail("[windows] stage {}: expected to end after step {}, got {}", i, before, s.until_step);
    }
}

}  // namespace

WindowSampler::WindowSampler(std::span<const TokenRecord> records, std::span<const Segment> segments,
                             const Tokenizer& tokenizer, WindowOptions options)
    : records_(records), tokenizer_(tokenizer), options_(std::move(options)) {
    check_stages(options_);
    int64_t n = 0;
    for (const Segment& s : segments) {
        const int64_t own = adder::n_positions(tokenizer, member_of(records, s));
        if (own == 0) continue;
        segments_.push_back(s);
        first_position_.push_back(n);
        n += ceil_div(own, options_.stride) * options_.stride;
        n_positions_ += own;
    }
    first_position_.push_back(n);
    if (n == 0)
        fail("[windows] nothing to train on: {} segments with {} symbols; hint: give more input or hold out less",
             segments.size(), n_symbols(segments));
    if (!(options_.reverse >= 0 && options_.reverse <= 1))
        fail("[windows] reverse: expected a probability, got {}", options_.reverse);
    if (options_.reverse > 0 && !tokenizer.two_strands())
        fail("[windows] reverse: a {} has no reverse complement", tokenizer.token());
}

size_t WindowSampler::stage_index(int64_t step) const {
    CHECK(step >= 0);
    size_t i = 0;
    while (i + 1 < options_.stages.size() && step >= options_.stages[i].until_step) ++i;
    return i;
}

const LengthStage& WindowSampler::stage(int64_t step) const {
    return options_.stages[stage_index(step)];
}

void WindowSampler::fill(int64_t step, int64_t micro_batch, Batch& batch) const {
    const size_t i = stage_index(step);
    const LengthStage& s = options_.stages[i];
    CHECK(batch.B == s.B && batch.L == s.L && micro_batch >= 0 && micro_batch < options_.accumulation);
    const int64_t first_step = i > 0 ? options_.stages[i - 1].until_step : 0;
    const int64_t first_window = ((step - first_step) * options_.accumulation + micro_batch) * s.B;
    const int64_t per_epoch = n_windows(s.L);
    for (int64_t b = 0; b < s.B; ++b) {
        const int64_t k = first_window + b;
        fill_window(i, k / per_epoch, k % per_epoch, row_of(batch, b));
    }
}

void WindowSampler::fill_window(size_t stage, int64_t epoch, int64_t index, BatchRow row) const {
    const int64_t L = options_.stages[stage].L, P = ring(), stride = options_.stride;
    const auto sub = static_cast<uint32_t>(stage);
    const auto e = static_cast<uint64_t>(epoch);
    const Permutation order(n_windows(L), Philox(options_.seed, Stream::windows).u64(e, sub));
    const auto places = static_cast<uint64_t>(std::min(L, P) / stride);
    const auto offset = static_cast<int64_t>(Philox(options_.seed, Stream::offset).below(places, e, sub)) * stride;
    const Philox turns(Philox(options_.seed, Stream::augment).u64(e, sub), Stream::augment);
    const int64_t begin = order(index) * L, count = std::min(L, P - begin);
    uint32_t member = 0;
    for (int64_t done = 0; done < count;) {
        const bool reverse = turns.uniform(static_cast<uint64_t>(order(index)), member++) < options_.reverse;
        done += write_ring((offset + begin + done) % P, count - done, reverse, row + done);
    }
    write_padding(tokenizer_, L - count, row + count);
}

// Writes the positions of the ring from `position` on that lie in one segment, as one member, and returns their number.
int64_t WindowSampler::write_ring(int64_t position, int64_t count, bool reverse, BatchRow row) const {
    const auto next = std::upper_bound(first_position_.begin(), first_position_.end(), position);
    const auto i = static_cast<size_t>(next - first_position_.begin()) - 1;
    const int64_t n = std::min(count, *next - position), first = position - first_position_[i];
    const Member member = member_of(records_, segments_[i]);
    const int64_t filled = std::min(n, adder::n_positions(tokenizer_, member) - first);
    write_piece(tokenizer_, member, {first, filled, true, reverse}, row);
    write_padding(tokenizer_, n - filled, row + filled, false);
    return n;
}

}  // namespace adder
