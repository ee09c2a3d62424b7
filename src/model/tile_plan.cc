#include "model/tile_plan.h"

#include <algorithm>

#include "kernels/common/run_op.h"
#include "model/state.h"
#include "model/tile_step.h"

namespace adder {

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct CountFlops : OpMeter {
    int64_t flops = 0;
    void planned(const OpCall& call) override { flops += call.cost.flops; }
    void ran(const OpCall&, double, int64_t, std::function<void(Ctx&, void*)>) override {}
};

// State slots without memory, for a dry run.
std::vector<TensorRef> unbound_state(const StateSpec& spec, const Compute& compute) {
    std::vector<TensorRef> slots;
    for (const StateSlot& slot : spec) slots.emplace_back(nullptr, compute.accum(), slot.shape, compute.device);
    return slots;
}

// A model of the same shape whose parameters have shapes but no memory: planning must work before anything is allocated.
struct BindShapes : ParamVisitor {
    explicit BindShapes(const Compute& c) : compute(c) {}
    Compute compute;
    ParamSizes sizes;
    std::vector<std::pair<Param*, Param>> before;
    void on_param(const ParamSpec& spec, Param& param) override {
        before.emplace_back(&param, param);
        const DType accum = compute.accum();
        const DType read = spec.kind.precision == Precision::storage ? compute.storage : accum;
        param.value = TensorRef(nullptr, read, spec.shape, compute.device);
        param.grad = param.master = TensorRef(nullptr, accum, spec.shape, compute.device);
        sizes.add(spec);
    }
    ~BindShapes() override {
        for (auto& [param, value] : before) *param = value;
    }
};

struct TileCost {
    int64_t saved_bytes, scratch_bytes, first_flops, forward_flops, backward_flops;
};

TileCost dry_run(LanguageModel& model, const Compute& compute, TileShape shape) {
    const Device device = compute.device;
    const auto slots = unbound_state(model.backbone().state_spec(shape.B), compute);
    Arena scratch(device, "scratch");
    CountFlops meter;
    Ctx ctx = compute.context(scratch, true);
    ctx.meter = &meter;
    const TileStep step{model, ctx, compute.storage};
    const Shape bt{shape.B, shape.T};
    const TensorRef ids(nullptr, DType::u16, bt, device), targets(nullptr, DType::u16, bt, device),
        weights(nullptr, DType::f32, bt, device), start(nullptr, DType::u8, bt, device), sums(nullptr, DType::f64, {2}, device);
    const Tile tile{shape, kPlanningPosition, start};
    TileCost cost{};
    step.forward(tile, ids, slots, slots, nullptr);
    cost.first_flops = meter.flops;
    Saved saved(device);
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

MemoryPlan plan_training(LanguageModel& model, const Compute& compute, const TileOptions& want) {
    BindShapes shapes(compute);
    model.visit(shapes);
    const DType accum = compute.accum();
    MemoryPlan p;
    p.tiles = want;
    p.tiles.T = std::clamp<int64_t>(want.T, 1, want.L);
    p.n_tiles = ceil_div(want.L, p.tiles.T);
    p.tiles.keep = std::clamp<int64_t>(want.keep, 0, p.n_tiles);
    TileCost cost = dry_run(model, compute, {want.B, p.tiles.T});
    if (const int64_t tail = want.L % p.tiles.T; tail != 0) {
        // A shorter last tile may take another path inside an op.
        const TileCost last = dry_run(model, compute, {want.B, tail});
        cost.saved_bytes = std::max(cost.saved_bytes, last.saved_bytes);
        cost.scratch_bytes = std::max(cost.scratch_bytes, last.scratch_bytes);
    }
    p.parameters = shapes.sizes.count;
    p.parameter_bytes = shapes.sizes.bytes(compute.storage, true);
    p.optimizer_bytes = 2 * shapes.sizes.elements * size_of(accum);
    // Borders before each tile and behind the last, the gradient of the state, and the recomputed state.
    p.border_bytes = (p.n_tiles + 3) *
                     state_bytes(model.backbone().state_spec(want.B), accum, compute.device);
    p.saved_tile_bytes = cost.saved_bytes;
    p.saved_bytes = std::max<int64_t>(p.tiles.keep, 1) * cost.saved_bytes;
    p.scratch_bytes = cost.scratch_bytes;
    p.batch_bytes = want.B * want.L * (2 + 2 + 4 + 1);
    const int64_t again = p.n_tiles - p.tiles.keep;
    p.step_flops = static_cast<double>(again) * static_cast<double>(cost.first_flops) +
                   static_cast<double>(p.n_tiles) * static_cast<double>(cost.forward_flops + cost.backward_flops);
    return p;
}

MemoryPlan choose_tiles(LanguageModel& model, const Compute& compute, const TileOptions& want, int64_t memory_bytes) {
    auto with_keep = [&](int64_t T) {
        TileOptions o = want;
        o.T = T;
        o.keep = want.keep >= 0 ? want.keep : 1;
        MemoryPlan p = plan_training(model, compute, o);
        const int64_t spare = memory_bytes - p.total_bytes();
        if (want.keep >= 0 || spare <= 0) return p;
        o.keep = 1 + spare / std::max<int64_t>(p.saved_tile_bytes, 1);
        return plan_training(model, compute, o);
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

}  // namespace adder
