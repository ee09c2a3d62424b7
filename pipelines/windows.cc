#include "pipelines/windows.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/rng.h"
#include "pipelines/permutation.h"

namespace adder {

namespace {
constexpr int64_t kMaxBatchTokens = int64_t{1}
                                    << 48;  // far beyond any memory; keeps the products below exact
}

WindowSampler::WindowSampler(std::span<const TokenRecord> records, std::span<const Segment> segments,
                             const TokenRules& rules, std::vector<LengthStage> stages, int64_t accumulation,
                             uint64_t seed)
    : records_(records), rules_(rules), stages_(std::move(stages)), accumulation_(accumulation), seed_(seed) {
    int64_t n = 0;
    for (const Segment& s : segments) {
        if (s.size() < 2) continue;
        segments_.push_back(s);
        first_position_.push_back(n);
        n += s.size() - 1;
    }
    first_position_.push_back(n);
    if (n == 0) {
        fail(
            "[windows] nothing to train on: {} segments with {} tokens; hint: give more input or hold out "
            "less",
            segments.size(), adder::n_tokens(segments));
    }
    if (stages_.empty()) fail("[windows] stages: expected at least one");
    if (accumulation < 1) fail("[windows] accumulation: expected at least 1, got {}", accumulation);
    for (size_t i = 0; i < stages_.size(); ++i) {
        const LengthStage& s = stages_[i];
        if (s.L < 1 || s.B < 1)
            fail("[windows] stage {}: expected L and B of at least 1, got {} and {}", i, s.L, s.B);
        if (s.L > kMaxBatchTokens / s.B) {
            fail("[windows] stage {}: expected at most {} tokens in a batch, got {} x {}", i, kMaxBatchTokens,
                 s.B, s.L);
        }
        if (s.L * s.B != stages_[0].L * stages_[0].B) {
            fail("[windows] stage {}: expected B L = {} as in the first, got {} x {}", i,
                 stages_[0].L * stages_[0].B, s.B, s.L);
        }
        if (s.until_step <= (i ? stages_[i - 1].until_step : 0)) {
            fail("[windows] stage {}: expected to end after step {}, got {}", i,
                 i ? stages_[i - 1].until_step : 0, s.until_step);
        }
    }
}

size_t WindowSampler::stage_index(int64_t step) const {
    CHECK(step >= 0);
    size_t i = 0;
    while (i + 1 < stages_.size() && step >= stages_[i].until_step) ++i;
    return i;
}

const LengthStage& WindowSampler::stage(int64_t step) const {
    return stages_[stage_index(step)];
}

void WindowSampler::fill(int64_t step, int64_t micro_batch, Batch& batch) const {
    const size_t i = stage_index(step);
    const LengthStage& s = stages_[i];
    CHECK(batch.B == s.B && batch.L == s.L && micro_batch >= 0 && micro_batch < accumulation_);
    const int64_t first_step = i > 0 ? stages_[i - 1].until_step : 0;
    const int64_t first_window = ((step - first_step) * accumulation_ + micro_batch) * s.B;
    const int64_t per_epoch = n_windows(s.L);
    for (int64_t b = 0; b < s.B; ++b) {
        const int64_t k = first_window + b;
        fill_window(i, k / per_epoch, k % per_epoch, row_of(batch, b));
    }
}

void WindowSampler::fill_window(size_t stage, int64_t epoch, int64_t index, BatchRow row) const {
    const int64_t L = stages_[stage].L, P = n_positions();
    const auto sub = static_cast<uint32_t>(stage);
    const auto e = static_cast<uint64_t>(epoch);
    const Permutation order(n_windows(L), Philox(seed_, Stream::windows).u64(e, sub));
    const auto offset = static_cast<int64_t>(
        Philox(seed_, Stream::offset).below(static_cast<uint64_t>(std::min(L, P)), e, sub));
    const int64_t begin = order(index) * L, count = std::min(L, P - begin);
    for (int64_t done = 0; done < count;) {
        done += write_ring((offset + begin + done) % P, count - done, row + done);
    }
    write_padding(rules_, L - count, row + count);
}

// Writes the positions from `position` on that lie in one segment, as one member, and returns their number.
int64_t WindowSampler::write_ring(int64_t position, int64_t count, BatchRow row) const {
    const auto next = std::upper_bound(first_position_.begin(), first_position_.end(), position);
    const auto i = static_cast<size_t>(next - first_position_.begin()) - 1;
    const int64_t n = std::min(count, *next - position);
    write_positions(rules_, tokens_of(records_, segments_[i]), position - first_position_[i], n, row);
    row.start[0] = 1;
    return n;
}

}  // namespace adder
