#include "model/tile_engine.h"

#include <algorithm>

#include "model/tile_step.h"

namespace adder {

TileEngine::TileEngine(LanguageModel& model, const Compute& compute, const MemoryPlan& plan)
    : model_(model), compute_(compute), scratch_(compute.device, "scratch"), ctx_(compute.context(scratch_)),
      tile_sums_(DType::f64, {2}, compute.device) {
#ifndef NDEBUG
    verify_ = true;
#endif
    configure(plan);
}

void TileEngine::configure(const MemoryPlan& plan) {
    plan_ = plan;
    // What the last plan used goes first, so that the two are never in memory together.
    borders_ = {};
    scratch_.unbind();
    slots_.clear();
    const DType accum = compute_.accum();
    const Device device = compute_.device;
    const StateSpec spec = model_.backbone().state_spec(plan.tiles.B);
    borders_ = StateStore(spec, accum, plan.n_tiles + 2, device, "states at tile borders");
    state_grad_ = StateStore(spec, accum, 1, device, "the gradient of the state");
    scratch_.bind(plan.scratch_bytes, poison_);
    const int64_t n_slots = std::max<int64_t>(plan.tiles.keep, 1);
    for (int64_t i = 0; i < n_slots; ++i) slots_.push_back({Saved(device), {}});
    for (Slot& slot : slots_) slot.saved.arena.bind(plan.saved_tile_bytes, poison_);
    sums_.assign(static_cast<size_t>(plan.n_tiles), {});
}

Tile TileEngine::tile_of(const Batch& batch, int64_t i) const {
    const int64_t t0 = i * plan_.tiles.T;
    const int64_t T = std::min(plan_.tiles.T, batch.L - t0);
    return {{batch.B, T}, t0, batch.start.ref().slice(1, t0, T)};
}

void TileEngine::check_stop() const {
    if (stop_ && stop_->load(std::memory_order_relaxed)) throw Interrupted{};
}

void TileEngine::first_pass(const Batch& batch, int64_t i) {
    const Tile tile = tile_of(batch, i);
    const TileStep step{model_, ctx_, compute_.storage};
    step.forward(tile, batch.ids.ref().slice(1, tile.t0, tile.shape.T), borders_[i], borders_[i + 1], nullptr);
}

void TileEngine::forward_kept(const Batch& batch, int64_t i, Slot& slot, State out) {
    const Tile tile = tile_of(batch, i);
    slot.saved.clear();
    const TileStep step{model_, ctx_, compute_.storage};
    slot.y = step.forward(tile, batch.ids.ref().slice(1, tile.t0, tile.shape.T), borders_[i], out, &slot.saved);
}

LossSums TileEngine::backward_tile(const Batch& batch, int64_t i, Slot& slot) {
    const Tile tile = tile_of(batch, i);
    auto part = [&](const Tensor& t) { return t.ref().slice(1, tile.t0, tile.shape.T); };
    const TileStep step{model_, ctx_, compute_.storage};
    step.backward(tile, part(batch.ids), part(batch.targets), part(batch.weights), slot.y, tile_sums_, borders_[i],
                  state_grad_[0], slot.saved);
    CHECK(slot.saved.empty());
    const auto* sums = tile_sums_.ref().ptr<double>("sums");
    return {sums[0], sums[1]};
}

LossSums TileEngine::forward_backward(const Batch& batch) {
    CHECK(batch.B == plan_.tiles.B && batch.L == plan_.tiles.L);
    const int64_t n = plan_.n_tiles, first_kept = n - plan_.tiles.keep;
    const int64_t spare = n + 1;  // the border index that no tile reads
    borders_.zero(ctx_, 0);
    state_grad_.zero(ctx_, 0);
    // The state behind tile first_kept - 1 is needed only as the input of a kept tile.
    for (int64_t i = 0; i < std::min(first_kept, n - 1); ++i) {
        check_stop();
        first_pass(batch, i);
    }
    for (int64_t i = first_kept; i < n; ++i) {
        check_stop();
        forward_kept(batch, i, slots_[static_cast<size_t>(i - first_kept)], borders_[i + 1]);
    }
    for (int64_t i = n - 1; i >= 0; --i) {
        check_stop();
        Slot& slot = slots_[static_cast<size_t>(std::max<int64_t>(i - first_kept, 0))];
        if (i < first_kept) {
            forward_kept(batch, i, slot, borders_[spare]);
            if (verify_ && i + 1 < n && !borders_.equal_bits(i + 1, spare))
                fail("[tile_engine] tile {} gave another state when it was computed again", i);
        }
        sums_[static_cast<size_t>(i)] = backward_tile(batch, i, slot);
    }
    LossSums all;
    for (const LossSums& s : sums_) {
        all.loss += s.loss;
        all.weight += s.weight;
    }
    return all;
}

}  // namespace adder
