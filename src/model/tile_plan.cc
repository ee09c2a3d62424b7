#include "model/tile_plan.h"

#include <algorithm>
#include <utility>

#include "core/batch.h"
#include "core/ceil_div.h"
#include "kernels/common/run_op.h"
#include "model/state.h"
#include "model/tile_step.h"

namespace adder {

namespace {

// CUDA's context, its modules and the workspaces of its libraries.
constexpr int64_t kContextBytes = int64_t{552} << 20;

struct Work {
    double flops = 0, seconds = 0;
};

struct CountWork : OpMeter {
    const Roofline* roofline = nullptr;
    Work work;
    void planned(const OpCall& call) override {
        work.flops += static_cast<double>(call.cost.flops);
        if (roofline) work.seconds += predict_seconds(call, *roofline);
    }
    void ran(const OpCall&, double, int64_t, std::function<void(Ctx&, void*)>) override {}
    Work take() { return std::exchange(work, {}); }
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
    int64_t saved_bytes, scratch_bytes;
    Work first_pass, forward, backward;
};

TileCost dry_run(LanguageModel& model, const Compute& compute, TileShape shape, const Roofline* roofline) {
    const auto slots = unbound_state(model.state_spec(shape.B), compute);
    Arena scratch(compute.device, "scratch");
    CountWork meter;
    meter.roofline = roofline;
    Ctx ctx = compute.context(scratch, true);
    ctx.meter = &meter;
    const TileStep step{model, ctx, compute.storage};
    const TokenTile tokens = TokenTile::at(nullptr, compute.device, shape.B, shape.T);
    const TensorRef sums(nullptr, DType::f64, {2}, compute.device);
    const Tile tile{shape, kPlanningPosition, tokens.start};
    TileCost cost{};
    if (model.frozen()) {
        step.head_only(tile, tokens, sums, slots);
        cost.forward = meter.take();
        cost.scratch_bytes = scratch.peak_bytes();
        return cost;
    }
    step.forward(tile, tokens, slots, slots, nullptr);
    cost.first_pass = meter.take();
    Saved saved(compute.device);
    const TensorRef y = step.forward(tile, tokens, slots, slots, &saved);
    cost.forward = meter.take();
    cost.saved_bytes = saved.arena.peak_bytes();
    step.backward(tile, tokens, y, sums, slots, slots, saved);
    CHECK(saved.empty());
    cost.backward = meter.take();
    cost.scratch_bytes = scratch.peak_bytes();
    return cost;
}

}  // namespace

int64_t whole_tile(const LanguageModel& model, int64_t T) {
    const int64_t stride = model.backbone().stride();
    return std::max(stride, T - T % stride);
}

MemoryPlan plan_training(LanguageModel& model, const Compute& compute, const TileOptions& want,
                         const Roofline* roofline) {
    if (want.T < want.L && std::max<int64_t>(want.T, 1) % model.backbone().stride() != 0)
        fail("[plan] tiles of {}: this model's pools need multiples of {}; hint: --tile {}", want.T,
             model.backbone().stride(), whole_tile(model, want.T));
    BindShapes shapes(compute);
    model.visit(shapes);
    const bool gpu = compute.device == Device::cuda;
    MemoryPlan p;
    p.tiles = want;
    p.tiles.T = std::clamp<int64_t>(want.T, 1, want.L);
    p.n_tiles = ceil_div(want.L, p.tiles.T);
    p.tiles.keep = std::clamp<int64_t>(want.keep, 0, p.n_tiles);
    TileCost cost = dry_run(model, compute, {want.B, p.tiles.T}, roofline);
    if (const int64_t tail = want.L % p.tiles.T; tail != 0) {
        // A shorter last tile may take another path inside an op.
        const TileCost last = dry_run(model, compute, {want.B, tail}, nullptr);
        cost.saved_bytes = std::max(cost.saved_bytes, last.saved_bytes);
        cost.scratch_bytes = std::max(cost.scratch_bytes, last.scratch_bytes);
    }
    p.parameters = shapes.sizes.count;
    p.parameter_bytes = shapes.sizes.bytes(compute.storage, true);
    p.optimizer_bytes = 2 * shapes.sizes.elements * size_of(compute.accum());
    // Borders, a state that nobody needs and the gradient of the state; on a GPU the states around the present tile.
    const int64_t states = model.frozen() ? 1 : p.n_tiles + 2 + (gpu && p.n_tiles > 1 ? 2 : 0);
    p.border_bytes = states * state_bytes(model.state_spec(want.B), compute.accum(), compute.device);
    p.saved_tile_bytes = cost.saved_bytes;
    p.saved_bytes = std::max<int64_t>(p.tiles.keep, 1) * cost.saved_bytes;
    p.scratch_bytes = cost.scratch_bytes;
    p.batch_bytes = want.B * want.L * (2 + 2 + 4 + 1);
    if (gpu) {
        p.batch_bytes = 2 * PackedBatch::bytes(std::max(model.vocab(), model.targets()), want.B, want.L) + TokenTile::bytes(want.B, p.tiles.T);
        p.context_bytes = kContextBytes;
    }
    // What a ragged last tile saves is not worth a word.
    const auto n = static_cast<double>(p.n_tiles);
    const auto again = model.frozen() ? 0.0 : static_cast<double>(p.n_tiles - p.tiles.keep);
    p.step_flops = again * cost.first_pass.flops + n * (cost.forward.flops + cost.backward.flops);
    p.step_seconds = again * cost.first_pass.seconds + n * (cost.forward.seconds + cost.backward.seconds);
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
        const int64_t smallest = std::max<int64_t>(16, model.backbone().stride());
        int64_t T = 1;
        while (T * 2 < want.L) T *= 2;
        for (; p.total_bytes() > memory_bytes && T >= smallest; T /= 2) p = with_keep(whole_tile(model, T));
    }
    if (p.total_bytes() > memory_bytes)
        fail("[plan] {} bytes of memory are too little: a tile of {} of {} x {} tokens needs {} bytes; "
             "hint: a larger --memory, a smaller --batch or {}",
             memory_bytes, p.tiles.T, want.B, want.L, p.total_bytes(),
             want.T > 0 ? "a smaller --tile" : "a smaller model");
    return p;
}

std::string what_fits(LanguageModel& model, const Compute& compute, const TileOptions& want, int64_t memory_bytes) {
    const auto largest = [&](auto set) {
        int64_t best = 0;
        for (int64_t n = 1; n <= int64_t{1} << 40; n *= 2) {
            TileOptions o = want;
            o.T = 0;
            o.keep = -1;
            set(o, n);
            try {
                choose_tiles(model, compute, o, memory_bytes);
            } catch (const Error&) {
                break;
            }
            best = n;
        }
        return best;
    };
    const int64_t length = largest([](TileOptions& o, int64_t n) { o.L = n; });
    const int64_t batch = largest([](TileOptions& o, int64_t n) { o.B = n; });
    if (length == 0 && batch == 0) return "no length fits at this batch; hint: a smaller model";
    std::string text = length > 0 ? fmt::format("a length of {} at this batch", length) : "";
    if (batch > 0) text += fmt::format("{}a batch of {} at this length", length > 0 ? " or " : "", batch);
    return text + " fits";
}

}  // namespace adder
