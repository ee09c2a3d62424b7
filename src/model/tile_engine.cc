#include "model/tile_engine.h"

#include <algorithm>

#include "kernels/cross_entropy/cross_entropy.h"

namespace adder {

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The parts of one tile's training, shared by planning (dry run) and running.
struct TileStep {
    LanguageModel& model;
    Ctx& ctx;
    DType storage;

    TensorRef forward(const Tile& tile, const TensorRef& ids, State in, State out, Saved* saved) const {
        ArenaScope scope(*ctx.scratch);
        const Shape shape{tile.shape.B, tile.shape.T, model.config().d_model};
        const TensorRef y = saved ? saved->arena.alloc(storage, shape) : TensorRef{};
        const TensorRef x = ctx.scratch->alloc(storage, shape);
        model.embed(ctx, ids, x);
        model.backbone().forward(ctx, tile, x, y, in, out, saved);
        return y;
    }

    void backward(const Tile& tile, const TensorRef& ids, const TensorRef& targets, const TensorRef& weights,
                  const TensorRef& y, const TensorRef& sums, State in, State d_state, Saved& saved) const {
        ArenaScope scope(*ctx.scratch);
        const auto [B, T] = tile.shape;
        const Shape shape{B, T, model.config().d_model};
        const TensorRef d_y = ctx.scratch->alloc(storage, shape);
        {
            ArenaScope head(*ctx.scratch);
            const TensorRef logits = ctx.scratch->alloc(accum_of(storage), {B, T, model.vocab()});
            model.logits(ctx, y, tile.t0, logits);
            cross_entropy(ctx, {logits, targets, weights, -1, tile.t0}, {sums, {}, logits});
            model.logits_backward(ctx, y, logits, tile.t0, d_y);
        }
        const TensorRef d_x = ctx.scratch->alloc(accum_of(storage), shape);
        model.backbone().backward(ctx, tile, {}, d_y, d_x, in, d_state, saved);
        model.embed_backward(ctx, ids, d_x, tile.t0);
    }
};

struct CountFlops : OpMeter {
    int64_t flops = 0;
    void planned(const OpCall& call) override { flops += call.cost.flops; }
    void ran(const OpCall&, double, int64_t, std::function<void(Ctx&, void*)>) override {}
};

// State slots without memory, for a dry run.
std::vector<TensorRef> unbound_state(const StateSpec& spec, DType dtype) {
    std::vector<TensorRef> slots;
    for (const StateSlot& slot : spec) slots.emplace_back(nullptr, dtype, slot.shape);
    return slots;
}

// A model of the same shape whose parameters have shapes but no memory: planning must work before anything is allocated.
struct BindShapes : ParamVisitor {
    DType storage;
    std::vector<std::pair<Param*, Param>> before;
    void on_param(const ParamSpec& spec, Param& param) override {
        before.emplace_back(&param, param);
        param.value = TensorRef(nullptr, storage, spec.shape);
        param.grad = TensorRef(nullptr, accum_of(storage), spec.shape);
        count += spec.shape.numel();
    }
    int64_t count = 0;
    ~BindShapes() override {
        for (auto& [param, value] : before) *param = value;
    }
};

struct TileCost {
    int64_t saved_bytes, scratch_bytes, first_flops, forward_flops, backward_flops;
};

TileCost dry_run(LanguageModel& model, DType storage, TileShape shape) {
    const DType accum = accum_of(storage);
    const auto slots = unbound_state(model.backbone().state_spec(shape.B), accum);
    Arena scratch;
    CountFlops meter;
    Ctx ctx;
    ctx.scratch = &scratch;
    ctx.dry_run = true;
    ctx.meter = &meter;
    const TileStep step{model, ctx, storage};
    const Shape bt{shape.B, shape.T};
    const TensorRef ids(nullptr, DType::u16, bt), targets(nullptr, DType::u16, bt), weights(nullptr, DType::f32, bt),
        start(nullptr, DType::u8, bt), sums(nullptr, DType::f64, {2});
    const Tile tile{shape, kPlanningPosition, start};
    TileCost cost{};
    step.forward(tile, ids, slots, slots, nullptr);
    cost.first_flops = meter.flops;
    Saved saved;
    meter.flops = 0;
    const TensorRef y = step.forward(tile, ids, slots, slots, &saved);
    cost.forward_flops = meter.flops;
    cost.saved_bytes = saved.arena.peak_bytes();
    meter.flops = 0;
    step.backward(tile, ids, targets, weights, y, sums, slots, slots, saved);
    CHECK(saved.empty());
    cost.backward_flops = meter.flops;
    cost.scratch_bytes = scratch.peak_bytes();
    return cost;
}

}  // namespace

MemoryPlan plan_training(LanguageModel& model, DType storage, const TileOptions& want) {
    BindShapes shapes;
    shapes.storage = storage;
    model.visit(shapes);
    const DType accum = accum_of(storage);
    MemoryPlan p;
    p.tiles = want;
    p.tiles.T = std::clamp<int64_t>(want.T, 1, want.L);
    p.n_tiles = ceil_div(want.L, p.tiles.T);
    p.tiles.keep = std::clamp<int64_t>(want.keep, 0, p.n_tiles);
    TileCost cost = dry_run(model, storage, {want.B, p.tiles.T});
    if (const int64_t tail = want.L % p.tiles.T; tail != 0) {
        // A shorter last tile may take another path inside an op.
        const TileCost last = dry_run(model, storage, {want.B, tail});
        cost.saved_bytes = std::max(cost.saved_bytes, last.saved_bytes);
        cost.scratch_bytes = std::max(cost.scratch_bytes, last.scratch_bytes);
    }
    p.parameters = shapes.count;
    p.parameter_bytes = shapes.count * (size_of(storage) + size_of(accum));
    p.optimizer_bytes = 2 * shapes.count * size_of(accum);
    // Borders before each tile and behind the last, the gradient of the state, and the recomputed state.
    p.border_bytes = (p.n_tiles + 3) * state_bytes(model.backbone().state_spec(want.B), accum);
    p.saved_tile_bytes = cost.saved_bytes;
    p.saved_bytes = std::max<int64_t>(p.tiles.keep, 1) * cost.saved_bytes;
    p.scratch_bytes = cost.scratch_bytes;
    p.batch_bytes = want.B * want.L * (2 + 2 + 4 + 1);
    const int64_t again = p.n_tiles - p.tiles.keep;
    p.step_flops = static_cast<double>(again) * static_cast<double>(cost.first_flops) +
                   static_cast<double>(p.n_tiles) * static_cast<double>(cost.forward_flops + cost.backward_flops);
    return p;
}

MemoryPlan choose_tiles(LanguageModel& model, DType storage, const TileOptions& want, int64_t memory_bytes) {
    auto with_keep = [&](int64_t T) {
        TileOptions o = want;
        o.T = T;
        o.keep = want.keep >= 0 ? want.keep : 1;
        MemoryPlan p = plan_training(model, storage, o);
        const int64_t spare = memory_bytes - p.total_bytes();
        if (want.keep >= 0 || spare <= 0) return p;
        o.keep = 1 + spare / std::max<int64_t>(p.saved_tile_bytes, 1);
        return plan_training(model, storage, o);
    };
    MemoryPlan p = with_keep(want.T > 0 ? want.T : want.L);
    if (want.T == 0) {
        constexpr int64_t kSmallestTile = 16;
        int64_t T = 1;
        while (T * 2 < want.L) T *= 2;
        for (; p.total_bytes() > memory_bytes && T >= kSmallestTile; T /= 2) p = with_keep(T);
    }
    if (p.total_bytes() > memory_bytes)
        fail("[plan] {} bytes of memory are too little: a tile of {} of {} x {} tokens needs {} bytes; "
             "hint: a larger --memory, a smaller --batch or {}",
             memory_bytes, p.tiles.T, want.B, want.L, p.total_bytes(),
             want.T > 0 ? "a smaller --tile" : "a smaller model");
    return p;
}

TileEngine::TileEngine(LanguageModel& model, DType storage, ThreadPool& pool, const MemoryPlan& plan)
    : model_(model), storage_(storage), tile_sums_(DType::f64, {2}) {
    ctx_.pool = &pool;
    ctx_.scratch = &scratch_;
#ifndef NDEBUG
    verify_ = true;
#endif
    configure(plan);
}

void TileEngine::configure(const MemoryPlan& plan) {
    plan_ = plan;
    // What the last plan used goes first, so that the two are never in memory together.
    borders_ = {};
    scratch_ = {};
    slots_.clear();
    const DType accum = accum_of(storage_);
    const StateSpec spec = model_.backbone().state_spec(plan.tiles.B);
    borders_ = StateStore(spec, accum, plan.n_tiles + 2);
    state_grad_ = StateStore(spec, accum, 1);
    scratch_.bind(plan.scratch_bytes, poison_);
    const int64_t n_slots = std::max<int64_t>(plan.tiles.keep, 1);
    slots_.resize(static_cast<size_t>(n_slots));
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
    const TileStep step{model_, ctx_, storage_};
    step.forward(tile, batch.ids.ref().slice(1, tile.t0, tile.shape.T), borders_[i], borders_[i + 1], nullptr);
}

void TileEngine::forward_kept(const Batch& batch, int64_t i, Slot& slot, State out) {
    const Tile tile = tile_of(batch, i);
    slot.saved.clear();
    const TileStep step{model_, ctx_, storage_};
    slot.y = step.forward(tile, batch.ids.ref().slice(1, tile.t0, tile.shape.T), borders_[i], out, &slot.saved);
}

LossSums TileEngine::backward_tile(const Batch& batch, int64_t i, Slot& slot) {
    const Tile tile = tile_of(batch, i);
    auto part = [&](const Tensor& t) { return t.ref().slice(1, tile.t0, tile.shape.T); };
    const TileStep step{model_, ctx_, storage_};
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
    borders_.zero(0);
    state_grad_.zero(0);
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
