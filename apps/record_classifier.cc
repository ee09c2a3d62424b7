#include "apps/record_classifier.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <set>

#include "core/ceil_div.h"
#include "model/tile_engine.h"

namespace adder {

namespace {

// Longer records are cut into tiles of this length.
constexpr int64_t kTile = 4096, kTileOnGpu = 32768;
constexpr int64_t kShortest = 16;
// The state of a row may be larger than what is computed for it.
constexpr int64_t kMostRows = 1024;

// (n,C) of one row, from logits to logarithms of probabilities.
void normalise(std::span<double> row) {
    const double top = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const double x : row) sum += std::exp(x - top);
    for (double& x : row) x -= top + std::log(sum);
}

// Row i of a contiguous tensor of rank 3, whatever (b,t) it belongs to.
TensorRef row_of(const Tensor& t, int64_t i) {
    const int64_t M = t.ref().size(2);
    auto* at = static_cast<char*>(t.ref().data) + i * M * size_of(t.ref().dtype);
    return TensorRef(at, t.ref().dtype, {M}, t.ref().device);
}

double number_at(const TensorRef& t, int64_t i) {
    return t.dtype == DType::f64 ? static_cast<const double*>(t.data)[i]
                                 : static_cast<double>(static_cast<const float*>(t.data)[i]);
}

}  // namespace

RecordClassifier::RecordClassifier(LanguageModel& model, const Compute& compute, const Tokenizer& tokenizer, int64_t tokens)
    : model_(model), compute_(compute), tokenizer_(tokenizer), tokens_(tokens), scratch_(compute.device, "scratch"),
      ctx_(compute.context(scratch_)) {
    CHECK(model.member_head());
}

int64_t RecordClassifier::longest_tile() const {
    return whole_tile(model_, compute_.device == Device::cpu ? kTile : kTileOnGpu);
}

// To a quarter of a power of two: at most a quarter more than the record has, and few different lengths.
int64_t RecordClassifier::padded_length(int64_t tokens) const {
    const int64_t tile = longest_tile();
    if (tokens <= kShortest) return kShortest;
    if (tokens > tile) return ceil_div(tokens, tile) * tile;
    const auto step = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(tokens - 1))) / 4;
    return ceil_div(tokens, step) * step;
}

RecordClassifier::Groups RecordClassifier::groups_of(std::span<const TokenRecord> records,
                                                     std::span<const int64_t> which) const {
    Groups groups;
    std::vector<int64_t> padded(which.size());
    std::vector<int64_t>& order = groups.order;
    order.resize(which.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    for (size_t i = 0; i < which.size(); ++i) {
        const TokenRecord& r = records[static_cast<size_t>(which[i])];
        const int64_t n = tokenizer_.n_tokens(static_cast<int64_t>(r.symbols.size()));
        CHECK(n > 0);
        padded[i] = padded_length(n);
    }
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return padded[static_cast<size_t>(a)] > padded[static_cast<size_t>(b)];
    });
    for (size_t first = 0, end; first < order.size(); first = end) {
        const int64_t n = padded[static_cast<size_t>(order[first])], tile = std::min(n, longest_tile());
        const auto most = static_cast<size_t>(std::clamp<int64_t>(tokens_ / tile, 1, kMostRows));
        for (end = first + 1; end < order.size() && end - first < most; ++end)
            if (padded[static_cast<size_t>(order[end])] != n) break;
        groups.all.push_back({std::span(order).subspan(first, end - first), n, tile});
    }
    return groups;
}

void RecordClassifier::reserve(std::span<const TokenRecord> records, std::span<const int64_t> which) {
    const Largest most = largest(records, which);
    if (most.rows > 0) reserve(most.rows, most.tile);
}

std::vector<double> RecordClassifier::classify(std::span<const TokenRecord> records, std::span<const int64_t> which,
                                               const std::atomic<bool>* stop) {
    std::vector<double> all(which.size() * static_cast<size_t>(model_.member_head()->classes()));
    const Groups groups = groups_of(records, which);
    for (const Group& g : groups.all) run_group(g, records, which, all, stop);
    return all;
}

int64_t RecordClassifier::planned_bytes(LanguageModel& model, const Compute& compute, const Tokenizer& tokenizer,
                                        int64_t tokens, std::span<const TokenRecord> records,
                                        std::span<const int64_t> which) {
    BindShapes shapes(compute);
    model.visit(shapes);
    const RecordClassifier classifier(model, compute, tokenizer, tokens);
    return classifier.largest(records, which).bytes;
}

RecordClassifier::Largest RecordClassifier::largest(std::span<const TokenRecord> records,
                                                    std::span<const int64_t> which) const {
    const Groups groups = groups_of(records, which);
    std::set<std::pair<int64_t, int64_t>> sizes;
    for (const Group& g : groups.all) sizes.emplace(std::ssize(g.rows), g.tile);
    Largest most;
    for (const auto& [rows, T] : sizes)
        if (const int64_t bytes = bytes_of(rows, T); bytes > most.bytes) most = {bytes, rows, T};
    return most;
}

// Of a dry run.
int64_t RecordClassifier::scratch_bytes(int64_t rows, int64_t T) const {
    const Device device = compute_.device;
    const int64_t M = model_.config().d_model, C = model_.member_head()->classes();
    const auto unbound = [&](DType dtype, const Shape& shape) { return TensorRef(nullptr, dtype, shape, device); };
    const DType accum = compute_.accum();
    const auto slots = unbound_state(model_.state_spec(rows), compute_);
    Arena count(device, "scratch");
    Ctx ctx = compute_.context(count, true);
    compute_tile(ctx, unbound(DType::u16, {rows, T}), slots, unbound(accum, {rows, T, M}),
                 device == Device::cpu ? kPlanningPosition : 0);
    model_.member_head()->logits_step(ctx, unbound(accum, {rows, 1, M}), unbound(accum, {rows, 1, C}));
    return count.peak_bytes();
}

int64_t RecordClassifier::bytes_of(int64_t rows, int64_t T) const {
    const int64_t M = model_.config().d_model, C = model_.member_head()->classes();
    return state_bytes(model_.state_spec(rows), compute_.accum(), compute_.device) +
           rows * (T * M + M + C) * size_of(compute_.accum()) + rows * T * size_of(DType::u16) + scratch_bytes(rows, T);
}

int64_t RecordClassifier::bytes() const {
    if (rows_ == 0) return 0;
    const TensorRef ids = compute_.device == Device::cuda ? tokens_there_.ref() : ids_.ref();
    return state_.bytes() + z_.ref().bytes() + ends_.ref().bytes() + logits_.ref().bytes() + ids.bytes() +
           scratch_.capacity_bytes();
}

// Memory for so many rows and tokens, planned before it is there. What was there goes first, so that never both are.
void RecordClassifier::reserve(int64_t rows, int64_t T) {
    if (rows == rows_ && T == T_) return;
    const int64_t M = model_.config().d_model, C = model_.member_head()->classes();
    const Device device = compute_.device;
    if (ctx_.gpu) ctx_.gpu->synchronize();
    state_ = {};
    for (Tensor* t : {&z_, &ends_, &logits_, &ids_, &tokens_there_}) *t = {};
    scratch_.unbind();
    rows_ = 0;
    state_ = StateStore(model_.state_spec(rows), compute_.accum(), 1, device, "the states of records");
    ends_ = Tensor(compute_.accum(), {rows, 1, M}, device, "pools of records");
    logits_ = Tensor(compute_.accum(), {rows, 1, C}, device, "logits");
    z_ = Tensor(compute_.accum(), {rows, T, M}, device, "running pools");
    ids_ = Tensor(DType::u16, {rows, T});
    if (device == Device::cuda) tokens_there_ = Tensor(DType::u16, {rows, T}, device, "a tile's tokens");
    scratch_.bind(scratch_bytes(rows, T));
    rows_ = rows;
    T_ = T;
}

void RecordClassifier::compute_tile(Ctx& ctx, const TensorRef& ids, State state, const TensorRef& z, int64_t t0) const {
    ArenaScope scope(*ctx.scratch);
    const Shape shape{ids.size(0), ids.size(1), model_.config().d_model};
    const Tile tile{{ids.size(0), ids.size(1)}, t0, {}};
    const TensorRef x = ctx.scratch->alloc(compute_.storage, shape), y = ctx.scratch->alloc(compute_.storage, shape);
    const State body = model_.backbone_part(state), pool = model_.head_part(state);
    model_.embed(ctx, ids, x);
    model_.backbone().forward(ctx, tile, x, y, body, body, nullptr);
    model_.member_head()->pool(ctx, tile, y, z, {pool, pool, {}});
}

void RecordClassifier::run_group(const Group& g, std::span<const TokenRecord> records, std::span<const int64_t> which,
                                 std::span<double> to, const std::atomic<bool>* stop) {
    const auto rows = static_cast<int64_t>(g.rows.size());
    reserve(rows, g.tile);
    state_.zero(ctx_, 0);
    const auto symbols = [&](int64_t b) -> const std::vector<uint8_t>& {
        return records[static_cast<size_t>(which[static_cast<size_t>(g.rows[static_cast<size_t>(b)])])].symbols;
    };
    std::vector<float> ignored(static_cast<size_t>(g.tile));
    auto* ids = ids_.ref().ptr<uint16_t>("ids");
    for (int64_t t0 = 0; t0 < g.padded; t0 += g.tile) {
        if (stop && stop->load(std::memory_order_relaxed)) throw Interrupted{};
        for (int64_t b = 0; b < rows; ++b) {
            const int64_t left = tokenizer_.n_tokens(static_cast<int64_t>(symbols(b).size())) - t0;
            const int64_t n = std::clamp<int64_t>(left, 0, g.tile);
            if (n > 0) tokenizer_.write(symbols(b), t0, n, false, ids + b * g.tile, ignored.data());
            std::fill(ids + b * g.tile + n, ids + (b + 1) * g.tile, tokenizer_.pad());
        }
        // Ops on a GPU get positions inside the tile. Its memory is written by the host only after it was read: copies of
        // memory that is not page-locked wait.
        if (ctx_.gpu) copy(ids_, tokens_there_);
        compute_tile(ctx_, ctx_.gpu ? tokens_there_ : ids_, state_[0], z_, ctx_.gpu ? 0 : t0);
        for (int64_t b = 0; b < rows; ++b) {
            const int64_t end = tokenizer_.n_tokens(static_cast<int64_t>(symbols(b).size())) - 1 - t0;
            if (end >= 0 && end < g.tile) copy(ctx_, row_of(z_, b * g.tile + end), row_of(ends_, b));
        }
        if (ctx_.gpu) ctx_.gpu->synchronize();
    }
    model_.member_head()->logits_step(ctx_, ends_, logits_);
    if (ctx_.gpu) ctx_.gpu->synchronize();
    const HostCopy host(logits_);
    const int64_t C = model_.member_head()->classes();
    for (int64_t b = 0; b < rows; ++b) {
        const auto row = to.subspan(static_cast<size_t>(g.rows[static_cast<size_t>(b)] * C), static_cast<size_t>(C));
        for (int64_t c = 0; c < C; ++c) row[static_cast<size_t>(c)] = number_at(host.ref(), b * C + c);
        normalise(row);
    }
}

}  // namespace adder
