#include "apps/scoring.h"

#include <algorithm>

#include "core/ceil_div.h"

namespace adder {

SegmentScorer::SegmentScorer(LanguageModel& model, const Compute& compute, const Tokenizer& tokenizer, int64_t T)
    : tokenizer_(tokenizer), session_(model, compute, 1, T) {
    // On a GPU scores arrive when two more tiles have been given to it.
    for (int i = 0; i < (compute.device == Device::cuda ? 3 : 1); ++i)
        flights_.push_back({Batch(1, session_.tile()), std::vector<double>(static_cast<size_t>(session_.tile())), {}});
}

// Fills a tile with what comes next and has it scored.
void SegmentScorer::give(Flight& flight, std::span<const TokenRecord> records, std::span<const Segment> segments) {
    const BatchRow row = row_of(flight.tile, 0);
    int64_t filled = 0;
    flight.pieces.clear();
    while (filled < session_.tile() && next_.segment < segments.size()) {
        const Member member = member_of(records, segments[next_.segment]);
        const int64_t size = n_positions(tokenizer_, member);
        const int64_t n = std::min(session_.tile() - filled, size - next_.inside);
        write_piece(tokenizer_, member, {next_.inside, n, next_.inside == 0, false}, row + filled);
        flight.pieces.push_back({next_.segment, filled, n});
        filled += n;
        next_.inside += n;
        if (next_.inside < size) continue;
        next_ = {next_.segment + 1, 0, next_.read};
        // Members begin at multiples of the model's stride.
        const int64_t gap = ceil_div(filled, session_.stride()) * session_.stride() - filled;
        write_padding(tokenizer_, gap, row + filled, false);
        filled += gap;
    }
    if (filled == 0) return;  // what is left has no positions
    TokenRows tokens;
    tokens.n = filled;
    tokens.t0 = next_.read;
    tokens.ids = row.ids;
    tokens.targets = row.targets;
    tokens.weights = row.weights;
    tokens.start = row.start;
    session_.score(tokens, flight.nats.data());
    next_.read += filled;
}

LossSums SegmentScorer::score(std::span<const TokenRecord> records, std::span<const Segment> segments,
                              const std::function<void(size_t, const LossSums&)>& on_segment,
                              const std::atomic<bool>* stop) {
    LossSums total, own;
    size_t reported = 0;
    const auto report_until = [&](size_t segment) {
        for (; reported < segment; ++reported, own = {})
            if (on_segment) on_segment(reported, own);
    };
    const auto add = [&](Flight& flight) {
        const float* weights = row_of(flight.tile, 0).weights;
        for (const Piece& piece : flight.pieces) {
            report_until(piece.segment);
            for (int64_t t = piece.begin; t < piece.begin + piece.count; ++t) {
                const double weight = static_cast<double>(weights[t]), nats = flight.nats[static_cast<size_t>(t)];
                own.loss += weight * nats;
                own.weight += weight;
                total.loss += weight * nats;
                total.weight += weight;
            }
        }
        flight.pieces.clear();
    };
    session_.reset(0);
    next_ = {};
    for (Flight& flight : flights_) flight.pieces.clear();
    size_t given = 0;
    for (; next_.segment < segments.size(); ++given) {
        if (stop && stop->load(std::memory_order_relaxed)) throw Interrupted{};
        Flight& flight = flights_[given % flights_.size()];
        add(flight);
        give(flight, records, segments);
    }
    session_.finish();
    for (size_t i = 0; i < flights_.size(); ++i) add(flights_[(given + i) % flights_.size()]);
    report_until(segments.size());
    return total;
}

}  // namespace adder
