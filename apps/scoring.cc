#include "apps/scoring.h"

#include <algorithm>

namespace adder {

namespace {

// Positions of the tile that belong to one segment.
struct Piece {
    size_t segment;
    int64_t begin, count;
};

}  // namespace

int64_t score_tile(Device device, const ModelConfig& config) {
    if (device == Device::cpu) return 4096;
    // Wide models have less room; they also need fewer tokens to fill a GPU.
    int64_t T = 1 << 17;
    while (T > 4096 && T * config.d_inner() > 1 << 26) T /= 2;
    return T;
}

SegmentScorer::SegmentScorer(LanguageModel& model, const Compute& compute, const TokenRules& rules, int64_t T)
    : rules_(rules), session_(model, compute, 1, T), tile_(1, T), nats_(static_cast<size_t>(T)) {}

LossSums SegmentScorer::score(std::span<const TokenRecord> records, std::span<const Segment> segments,
                              const std::function<void(size_t, const LossSums&)>& on_segment,
                              const std::atomic<bool>* stop) {
    LossSums total, own;
    std::vector<Piece> pieces;
    session_.reset(0);
    const BatchRow row = row_of(tile_, 0);
    int64_t inside = 0, read = 0;  // position inside the current segment, tokens read by the model
    size_t current = 0, reported = 0;
    while (current < segments.size()) {
        if (stop && stop->load(std::memory_order_relaxed)) throw Interrupted{};
        pieces.clear();
        int64_t filled = 0;
        while (filled < session_.tile() && current < segments.size()) {
            const auto tokens = tokens_of(records, segments[current]);
            const int64_t n = std::min(session_.tile() - filled, segments[current].size() - inside);
            write_positions(rules_, tokens, inside, n, row + filled);
            pieces.push_back({current, filled, n});
            filled += n;
            inside += n;
            if (inside == segments[current].size()) {
                ++current;
                inside = 0;
            }
        }
        TokenRows tokens;
        tokens.n = filled;
        tokens.t0 = read;
        tokens.ids = row.ids;
        tokens.targets = row.targets;
        tokens.weights = row.weights;
        tokens.start = row.start;
        session_.score(tokens, nats_.data());
        session_.finish();
        read += filled;
        for (const Piece& piece : pieces) {
            for (; reported < piece.segment; ++reported, own = {})
                if (on_segment) on_segment(reported, own);
            for (int64_t t = piece.begin; t < piece.begin + piece.count; ++t) {
                const double weight = static_cast<double>(row.weights[t]);
                own.loss += weight * nats_[static_cast<size_t>(t)];
                own.weight += weight;
                total.loss += weight * nats_[static_cast<size_t>(t)];
                total.weight += weight;
            }
        }
    }
    for (; reported < segments.size(); ++reported, own = {})
        if (on_segment) on_segment(reported, own);
    return total;
}

}  // namespace adder
