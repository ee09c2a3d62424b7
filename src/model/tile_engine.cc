#include "model/tile_engine.h"

#include <algorithm>

#include "core/ceil_div.h"
#include "kernels/batch/unpack_batch.h"
#include "model/tile_step.h"

namespace adder {

namespace {

// The host is at most this many tiles ahead of the GPU: enough that the GPU never waits, few enough that a stop is quick.
constexpr size_t kTilesAhead = 4;
// Slots of kept tiles whose work is recorded. A graph belongs to one slot's memory, and with many slots tiles are large,
// so that recording would cost more than it saves.
constexpr int64_t kRecordedSlots = 16;

}  // namespace

TileEngine::TileEngine(LanguageModel& model, const Compute& compute, const MemoryPlan& plan,
                       std::span<const MemoryPlan> later)
    : model_(model), compute_(compute), memory_(compute.device, "memory of tiles, borders and scratch"),
      scratch_(compute.device, "scratch"), ctx_(compute.context(scratch_)), plan_(plan) {
#ifndef NDEBUG
    verify_ = true;
#endif
    if (compute.device == Device::cuda) paces_.resize(kTilesAhead);
    const MemoryPlan* most = &plan;
    for (const MemoryPlan& p : later)
        if (bytes_of(p) > bytes_of(*most)) most = &p;
    reserve(*most);
    configure(plan);
}

void TileEngine::configure(const MemoryPlan& plan) {
    if (ctx_.gpu) ctx_.gpu->synchronize();
    plan_ = plan;
    graphs_.clear();
    reserve(plan);
    memory_.release(0);
    lay_out(plan, memory_);
}

void TileEngine::reserve(const MemoryPlan& plan) {
    const int64_t bytes = bytes_of(plan);
    if (!memory_.counting() && bytes <= memory_.capacity_bytes()) return;
    largest_ = plan;
    free_memory();  // so that the old and the new are never there together
    with_what_fits([&] { memory_.bind(bytes); });
}

void TileEngine::with_what_fits(const std::function<void()>& make) {
    if (compute_.device == Device::cpu) return make();
    try {
        make();
    } catch (const OutOfMemory& e) {
        free_memory();
        // Parameters and moments are there already.
        const int64_t usable = usable_bytes(gpu_free_bytes() + largest_.parameter_bytes + largest_.optimizer_bytes);
        fail<OutOfMemory>("{}; training needs {}; {} without --memory, --tile and --keep", e.what(), largest_.need_text(),
                          what_fits(model_, compute_, largest_.tiles, usable));
    }
}

void TileEngine::free_memory() {
    graphs_.clear();
    borders_ = {};
    current_ = {};
    state_grad_ = {};
    tokens_ = {};
    scratch_.unbind();
    slots_.clear();
    memory_.unbind();
}

int64_t TileEngine::bytes_of(const MemoryPlan& plan) {
    Arena count(compute_.device, "");
    lay_out(plan, count);
    return count.peak_bytes();
}

void TileEngine::lay_out(const MemoryPlan& plan, Arena& memory) {
    const Device device = compute_.device;
    const DType accum = compute_.accum();
    const StateSpec spec = model_.state_spec(plan.tiles.B);
    if (device == Device::cuda)
        tokens_ = memory.alloc(DType::u8, {TokenTile::bytes(plan.tiles.B, plan.tiles.T)});
    scratch_.bind(memory.alloc(DType::u8, {plan.scratch_bytes}), poison_);
    borders_ = StateStore(spec, accum, model_.frozen() ? 1 : plan.n_tiles + 1, memory);
    state_grad_ = {};
    current_ = {};
    slots_.clear();
    if (model_.frozen()) return;
    state_grad_ = StateStore(spec, accum, 1, memory);
    if (device == Device::cuda && plan.n_tiles > 1) current_ = StateStore(spec, accum, 2, memory);
    const int64_t n_slots = std::max<int64_t>(plan.tiles.keep, 1);
    slots_.reserve(static_cast<size_t>(n_slots));
    for (int64_t i = 0; i < n_slots; ++i) slots_.push_back({Saved(device), {}});
    for (Slot& slot : slots_) slot.saved.arena.bind(memory.alloc(DType::u8, {plan.saved_tile_bytes}), poison_);
}

void TileEngine::check_stop() const {
    if (stop_ && stop_->load(std::memory_order_relaxed)) throw Interrupted{};
}

void TileEngine::keep_pace() {
    if (!ctx_.gpu) return;
    Event& event = paces_[static_cast<size_t>(given_++) % kTilesAhead];
    event.synchronize();  // of the tile that many before this one; at once where there is none
    event.record(ctx_.gpu->stream());
}

// The tokens of tile i. Those of the last tile that was loaded are gone then where batches are packed.
TokenTile TileEngine::load(const Source& from, int64_t i) {
    const int64_t B = plan_.tiles.B, t0 = i * plan_.tiles.T, T = std::min(plan_.tiles.T, plan_.tiles.L - t0);
    if (from.whole) {
        const Batch& b = *from.whole;
        const auto part = [&](const Tensor& t) { return t.ref().slice(1, t0, T); };
        return {part(b.ids), part(b.targets), part(b.weights), part(b.start)};
    }
    const TokenTile tile = TokenTile::at(tokens_.data, compute_.device, B, T);
    unpack_batch(ctx_, *from.packed, t0, tile);
    return tile;
}

void TileEngine::compute(Work work, const Tile& tile, const TokenTile& tokens, Slot* slot, State in, State out,
                         const TensorRef& sums) {
    const TileStep step{model_, ctx_, compute_.storage};
    if (work == Work::head_only) return step.head_only(tile, tokens, sums, out);
    if (work == Work::first_pass) {
        step.forward(tile, tokens, in, out, nullptr);
        return;
    }
    if (work != Work::backward) {
        slot->saved.clear();
        slot->y = step.forward(tile, tokens, in, out, &slot->saved);
    }
    if (work == Work::keep) return;
    slot->saved.rewind();
    step.backward(tile, tokens, slot->y, sums, in, state_grad_[0], slot->saved);
    CHECK(slot->saved.empty());
}

// One piece of the walk, on tile i, whose state is at border i.
void TileEngine::run(Work work, const Source& from, int64_t i, const TensorRef& sums) {
    check_stop();
    const bool gives_slot = work != Work::first_pass && work != Work::head_only;
    const int64_t at = gives_slot ? std::max<int64_t>(i - from.first_kept, 0) : -1;
    // The border behind the tile; a tile that is computed again must not touch it.
    const int64_t behind = work == Work::again ? plan_.n_tiles : i + 1;
    const TokenTile tokens = load(from, i);
    const bool gpu = compute_.device == Device::cuda, in_place = work == Work::head_only;
    const bool copies = gpu && plan_.n_tiles > 1 && !in_place;
    const Tile tile{{tokens.ids.size(0), tokens.ids.size(1)}, gpu ? 0 : i * plan_.tiles.T, tokens.start};
    if (copies) copy(ctx_, borders_.bytes_of(i), current_.bytes_of(0));
    const State in = copies ? current_[0] : borders_[in_place ? 0 : i];
    const State out = copies ? current_[1] : borders_[in_place ? 0 : behind];
    Slot* slot = gives_slot ? &slots_[static_cast<size_t>(at)] : nullptr;
    const auto body = [&] { compute(work, tile, tokens, slot, in, out, sums); };
    if (at < kRecordedSlots)
        graphs_.run(ctx_, {static_cast<int64_t>(work), at, tile.shape.T, 0}, body);
    else
        body();
    if (copies && work != Work::backward) copy(ctx_, current_.bytes_of(1), borders_.bytes_of(behind));
    if (work == Work::again && verify_ && i + 1 < from.tiles) verify_border(i, behind);
    keep_pace();
}

void TileEngine::verify_border(int64_t i, int64_t again) {
    if (!borders_.equal_bits(i + 1, again))
        fail("[tile_engine] tile {} gave another state when it was computed again", i);
}

// Over the tiles that hold anything.
void TileEngine::walk(Source from, int64_t filled, const TensorRef& sums) {
    const int64_t n = ceil_div(filled, plan_.tiles.T), first_kept = std::max<int64_t>(n - plan_.tiles.keep, 0);
    CHECK(n >= 1 && n <= plan_.n_tiles);
    from.tiles = n;
    from.first_kept = first_kept;
    borders_.zero(ctx_, 0);
    if (model_.frozen()) {
        for (int64_t i = 0; i < n; ++i) run(Work::head_only, from, i, sums);
        return;
    }
    state_grad_.zero(ctx_, 0);
    // The state behind tile first_kept - 1 is needed only as the input of a kept tile.
    for (int64_t i = 0; i < std::min(first_kept, n - 1); ++i) run(Work::first_pass, from, i, sums);
    // The last tile goes forward and back as one.
    for (int64_t i = first_kept; i < n - 1; ++i) run(Work::keep, from, i, sums);
    for (int64_t i = n - 1; i >= 0; --i) run(i < first_kept || i == n - 1 ? Work::again : Work::backward, from, i, sums);
}

void TileEngine::forward_backward(const Batch& batch, const TensorRef& sums) {
    CHECK(compute_.device == Device::cpu && batch.B == plan_.tiles.B && batch.L == plan_.tiles.L);
    walk({.whole = &batch}, batch.filled, sums);
}

void TileEngine::forward_backward(const PackedBatch& batch, const TensorRef& sums) {
    CHECK(batch.B() == plan_.tiles.B && batch.L() == plan_.tiles.L);
    walk({.packed = &batch}, batch.filled, sums);
}

}  // namespace adder
