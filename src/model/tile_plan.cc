#include "model/tile_plan.h"

#include <algorithm>
#include <utility>

#include "core/batch.h"
#include "core/bytes_text.h"
#include "core/ceil_div.h"
#include "kernels/common/run_op.h"
#include "model/state.h"
#include "model/tile_step.h"

namespace adder {

namespace {

// CUDA's context, its modules and the workspaces of its libraries.
constexpr int64_t kContextBytes = int64_t{552} << 20;

// A tile longer than this is not tried where the tiles are open; ops have their limits not far above it.
constexpr int64_t kLongestTile = int64_t{1} << 30;

struct CountFlops : OpMeter {
    double flops = 0;
    void planned(const OpCall& call) override { flops += static_cast<double>(call.cost.flops); }
    void ran(const OpCall&, double, int64_t, std::function<void(Ctx&, void*)>) override {}
    double take() { return std::exchange(flops, 0); }
};

struct TileCost {
    int64_t saved_bytes, scratch_bytes;
    double first_pass_flops, forward_flops, backward_flops;
};

TileCost dry_run(LanguageModel& model, const Compute& compute, TileShape shape) {
    const auto slots = unbound_state(model.state_spec(shape.B), compute);
    Arena scratch(compute.device, "scratch");
    CountFlops meter;
    Ctx ctx = compute.context(scratch, true);
    ctx.meter = &meter;
    const TileStep step{model, ctx, compute.storage};
    const TokenTile tokens = TokenTile::at(nullptr, compute.device, shape.B, shape.T);
    const TensorRef sums(nullptr, DType::f64, {2}, compute.device);
    const Tile tile{shape, kPlanningPosition, tokens.start};
    TileCost cost{};
    if (model.frozen()) {
        step.head_only(tile, tokens, sums, slots);
        cost.forward_flops = meter.take();
        cost.scratch_bytes = scratch.peak_bytes();
        return cost;
    }
    step.forward(tile, tokens, slots, slots, nullptr);
    cost.first_pass_flops = meter.take();
    Saved saved(compute.device);
    const TensorRef y = step.forward(tile, tokens, slots, slots, &saved);
    cost.forward_flops = meter.take();
    cost.saved_bytes = saved.arena.peak_bytes();
    step.backward(tile, tokens, y, sums, slots, slots, saved);
    CHECK(saved.empty());
    cost.backward_flops = meter.take();
    cost.scratch_bytes = scratch.peak_bytes();
    return cost;
}

}  // namespace

BindShapes::~BindShapes() {
    for (auto& [param, value] : before_) *param = value;
}

void BindShapes::on_param(const ParamSpec& spec, Param& param) {
    before_.emplace_back(&param, param);
    const DType accum = compute_.accum();
    const DType read = spec.kind.precision == Precision::storage ? compute_.storage : accum;
    param.value = TensorRef(nullptr, read, spec.shape, compute_.device);
    param.grad = param.master = TensorRef(nullptr, accum, spec.shape, compute_.device);
    sizes_.add(spec);
}

std::vector<TensorRef> unbound_state(const StateSpec& spec, const Compute& compute) {
    std::vector<TensorRef> slots;
    for (const StateSlot& slot : spec) slots.emplace_back(nullptr, compute.accum(), slot.shape, compute.device);
    return slots;
}

int64_t whole_tile(const LanguageModel& model, int64_t T) {
    const int64_t stride = model.backbone().stride();
    return std::max(stride, T - T % stride);
}

std::array<MemoryPlan::Part, 8> MemoryPlan::parts() const {
    return {{{"parameters", "parameters and gradients", parameter_bytes},
             {"optimizer", "optimizer", optimizer_bytes},
             {"tiles", "tiles", saved_bytes},
             {"borders", "borders", border_bytes},
             {"scratch", "scratch", scratch_bytes},
             {"batch", "batch", batch_bytes},
             {"evaluation", "evaluation", evaluation_bytes},
             {"cuda", "CUDA and its libraries", context_bytes}}};
}

std::string MemoryPlan::need_text() const {
    const auto all = parts();
    const Part& most =
        *std::max_element(all.begin(), all.end(), [](const Part& a, const Part& b) { return a.bytes < b.bytes; });
    return fmt::format("{}, the most of it, {}, for {}", bytes_text(total_bytes()), bytes_text(most.bytes), most.text);
}

int64_t MemoryPlan::total_bytes() const {
    int64_t sum = 0;
    for (const Part& part : parts()) sum += part.bytes;
    return sum;
}

const MemoryPlan& most_memory(std::span<const MemoryPlan> plans) {
    return *std::max_element(plans.begin(), plans.end(),
                             [](const MemoryPlan& a, const MemoryPlan& b) { return a.total_bytes() < b.total_bytes(); });
}

int64_t score_tile(Device device, const ModelConfig& config) {
    if (device == Device::cpu) return 4096;
    // Wide models have less room; they also need fewer tokens to fill a GPU.
    int64_t T = 1 << 17;
    while (T > 4096 && T * config.d_inner() > 1 << 26) T /= 2;
    return T;
}

int64_t scoring_bytes(LanguageModel& model, const Compute& compute, int64_t T) {
    BindShapes shapes(compute);
    model.visit(shapes);
    T = ceil_div(T, model.backbone().stride()) * model.backbone().stride();
    const StateSpec spec = model.state_spec(1);
    const auto slots = unbound_state(spec, compute);
    Arena scratch(compute.device, "scratch");
    Ctx ctx = compute.context(scratch, true);
    const TokenTile tokens = TokenTile::at(nullptr, compute.device, 1, T);
    const TensorRef nats(nullptr, DType::f64, {1, T}, compute.device),
        sums(nullptr, DType::f64, {2}, compute.device);
    TileStep{model, ctx, compute.storage}.score({{1, T}, kPlanningPosition, tokens.start}, tokens, sums, nats,
                                                slots);
    const int64_t on_device = compute.device == Device::cuda ? TokenTile::bytes(1, T) + nats.bytes() : 0;
    return scratch.peak_bytes() + state_bytes(spec, compute.accum(), compute.device) + on_device +
           model.vocab() * size_of(compute.accum()) + size_of(DType::u16) + sums.bytes();
}

MemoryPlan plan_training(LanguageModel& model, const Compute& compute, const TileOptions& want) {
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
    TileCost cost = dry_run(model, compute, {want.B, p.tiles.T});
    if (const int64_t tail = want.L % p.tiles.T; tail != 0) {
        // A shorter last tile may take another path inside an op.
        const TileCost last = dry_run(model, compute, {want.B, tail});
        cost.saved_bytes = std::max(cost.saved_bytes, last.saved_bytes);
        cost.scratch_bytes = std::max(cost.scratch_bytes, last.scratch_bytes);
    }
    p.parameters = shapes.sizes().count;
    p.parameter_bytes = shapes.sizes().bytes(compute.storage, true);
    p.optimizer_bytes = 2 * shapes.sizes().elements * size_of(compute.accum());
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
    p.step_flops = again * cost.first_pass_flops + n * (cost.forward_flops + cost.backward_flops);
    p.evaluation_bytes = want.evaluation_bytes;
    if (want.evaluates) {
        // Far less than training takes, and more where training has more.
        const int64_t most = std::max<int64_t>(4096, want.B * p.tiles.T / 8);
        p.evaluation_tile = std::min(most, score_tile(compute.device, model.config()));
        p.evaluation_bytes = scoring_bytes(model, compute, p.evaluation_tile);
    }
    return p;
}

namespace {

// The plan of tiles of T, with as many kept as fit where that is open.
MemoryPlan plan_of_tile(LanguageModel& model, const Compute& compute, const TileOptions& want, int64_t T,
                        int64_t memory_bytes) {
    TileOptions o = want;
    o.T = T;
    o.keep = want.keep >= 0 ? want.keep : 1;
    MemoryPlan p = plan_training(model, compute, o);
    const int64_t spare = memory_bytes - p.total_bytes();
    if (want.keep >= 0 || spare <= 0) return p;
    o.keep = 1 + spare / std::max<int64_t>(p.saved_tile_bytes, 1);
    return plan_training(model, compute, o);
}

// The first plan that fits, or the smallest that was found.
MemoryPlan first_plan(LanguageModel& model, const Compute& compute, const TileOptions& want, int64_t memory_bytes) {
    const auto with_keep = [&](int64_t T) { return plan_of_tile(model, compute, want, T, memory_bytes); };
    const bool one_tile = want.L <= kLongestTile;
    MemoryPlan best = with_keep(want.T > 0 ? want.T : one_tile ? want.L : whole_tile(model, kLongestTile));
    if (want.T > 0) return best;
    const int64_t smallest = std::max<int64_t>(16, model.backbone().stride());
    int64_t T = 1;
    while (T * 2 < std::min(want.L, kLongestTile)) T *= 2;
    // Below some length the states at the borders grow by more than the tiles shrink.
    for (; best.total_bytes() > memory_bytes && T >= smallest; T /= 2)
        if (MemoryPlan p = with_keep(whole_tile(model, T)); p.total_bytes() < best.total_bytes()) best = p;
    return best;
}

// `first` fits, and half of the memory may be left over: too little for one more of its tiles. Of shorter ones more of the
// sequence is kept.
MemoryPlan plan_of_least_work(LanguageModel& model, const Compute& compute, const TileOptions& want, int64_t memory_bytes,
                              const MemoryPlan& first) {
    if (want.T > 0 || want.keep >= 0 || model.frozen()) return first;
    // Fewer tokens do not fill the device.
    const int64_t fill = compute.device == Device::cuda ? 16384 : 1024;
    const int64_t shortest = std::max(model.backbone().stride(), ceil_div(fill, want.B));
    MemoryPlan best = first;
    for (int64_t T = first.tiles.T / 2; T >= shortest && best.tiles.keep < best.n_tiles; T /= 2) {
        MemoryPlan p = plan_of_tile(model, compute, want, whole_tile(model, T), memory_bytes);
        // A sixteenth of the work outweighs what shorter tiles cost.
        if (p.total_bytes() <= memory_bytes && p.step_flops < best.step_flops * 15 / 16) best = p;
    }
    return best;
}

}  // namespace

MemoryPlan choose_tiles(LanguageModel& model, const Compute& compute, const TileOptions& want,
                        int64_t memory_bytes) {
    const MemoryPlan p = first_plan(model, compute, want, memory_bytes);
    if (p.total_bytes() <= memory_bytes) return plan_of_least_work(model, compute, want, memory_bytes, p);
    fail<OutOfMemory>("[plan] {} of memory are too little: {} x {} tokens in tiles of {} need {}{}; {}{}",
                      bytes_text(memory_bytes), p.tiles.B, p.tiles.L, p.tiles.T, p.need_text(),
                      want.T > 0 ? "" : ", and other tiles need more", what_fits(model, compute, want, memory_bytes),
                      want.T > 0 || want.keep >= 0 ? " without --tile and --keep" : "");
}

LargestPlans largest_plans(LanguageModel& model, const Compute& compute, const TileOptions& want,
                           int64_t memory_bytes) {
    constexpr int64_t kMost = int64_t{1} << 40;
    const auto largest = [&](int64_t unit, auto set) {
        const auto fits = [&](int64_t n) {
            TileOptions o = want;
            set(o, n);
            return first_plan(model, compute, o, memory_bytes).total_bytes() <= memory_bytes;
        };
        if (!fits(unit)) return int64_t{0};
        int64_t power = unit;
        while (power < kMost && fits(2 * power)) power *= 2;
        int64_t best = power;
        if (power < kMost)
            for (int64_t more = power / 2; more >= std::max(unit, power / 128); more /= 2)
                if (fits(best + more)) best += more;
        return best;
    };
    return {largest(model.backbone().stride(), [](TileOptions& o, int64_t n) { o.L = n; }),
            largest(1, [](TileOptions& o, int64_t n) { o.B = n; })};
}

std::string what_fits(LanguageModel& model, const Compute& compute, const TileOptions& want,
                      int64_t memory_bytes) {
    TileOptions open = want;
    open.T = 0;
    open.keep = -1;
    const auto [length, batch] = largest_plans(model, compute, open, memory_bytes);
    if (length == 0 && batch == 0) return "no length fits at this batch";
    std::string text = length > 0 ? fmt::format("a length of {} at this batch", length) : "";
    if (batch > 0) text += fmt::format("{}a batch of {} at this length", length > 0 ? " or " : "", batch);
    return text + " fits";
}

}  // namespace adder
