#include "apps/embedding.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>

#include "apps/scoring.h"
#include "core/error.h"
#include "core/with_room.h"
#include "model/tile_engine.h"

namespace adder {

namespace {

// States and outputs of a tile take at most so much.
constexpr int64_t kStateBytes = 64 << 20, kOutputBytes = 256 << 20;

TilePlan tile_plan(const LanguageModel& model, const Compute& compute, const EmbedSettings& s,
                   bool in_order) {
    const int64_t output = s.outputs.count() * model.config().d_model * size_of(compute.accum());
    TilePlan plan;
    plan.packed = s.packed || compute.device == Device::cuda;
    plan.two_strands = s.strands != BothStrands::no;
    plan.in_order = in_order;
    plan.tile = s.tile.value_or(score_tile(compute.device, model.config()));
    if (!s.tile)
        while (plan.tile > kLeastScoreTile && plan.tile * output > kOutputBytes) plan.tile /= 2;
    plan.stride = model.backbone().stride();
    plan.tile = whole_tile(model, plan.tile);
    if (!plan.packed)
        plan.rows =
            std::max<int64_t>(1, kStateBytes / state_bytes(model.backbone().state_spec(1), compute.accum()));
    return plan;
}

// One walk over all targets.
class Walk {
  public:
    Walk(const EmbedTargets& targets, const EmbedSettings& settings, EmbeddingFile& file)
        : targets_(targets), settings_(settings), file_(file), seen_(targets.segments.size()) {
        if (settings.pool == EmbedPool::none) offsets_ = targets.offsets();
    }

    // A tile's pieces, until all of its outputs have come.
    void expect(const std::vector<TargetPiece>& pieces) { under_way_.push_back(pieces); }
    void take(TargetPools& pools, int64_t tile, int64_t index, const TensorRef& values) {
        const auto& pieces = under_way_[static_cast<size_t>(tile - first_)];
        pools.take(pieces, index, values);
        if (index + 1 < settings_.outputs.count()) return;
        under_way_.pop_front();
        ++first_;
    }

    // Rows of a target in reading direction.
    void put(const TargetPiece& p, int64_t rows, const float* values, int64_t width) {
        const auto target = static_cast<size_t>(p.target);
        const Segment& segment = targets_.segments[target];
        for (int64_t i = 0; i < rows * width; ++i)
            if (!std::isfinite(values[i]))
                fail("[embed] {}: the embedding is not finite; hint: --dtype f32, or an earlier checkpoint",
                     targets_.records[static_cast<size_t>(segment.record)].name);
        int64_t row = p.target;
        if (settings_.pool == EmbedPool::none) {
            row = offsets_[target] + (p.reverse ? segment.size() - p.done - rows : p.done);
            if (p.reverse && rows > 1) values = turned(rows, values, width);
        }
        const bool own_is_reverse = !targets_.on_reverse.empty() && targets_.on_reverse[target];
        file_.put(row, rows, values, p.reverse == own_is_reverse ? 0 : 1, seen_[target]);
        if (p.ends) seen_[target] = true;
    }

  private:
    const float* turned(int64_t rows, const float* values, int64_t width) {
        turned_.resize(static_cast<size_t>(rows * width));
        for (int64_t r = 0; r < rows; ++r)
            std::copy_n(values + r * width, width, turned_.data() + (rows - 1 - r) * width);
        return turned_.data();
    }

    const EmbedTargets& targets_;
    const EmbedSettings& settings_;
    EmbeddingFile& file_;
    std::vector<int64_t> offsets_;
    std::vector<bool> seen_;  // one strand of the target is in the file
    std::deque<std::vector<TargetPiece>> under_way_;
    int64_t first_ = 0;  // the tile of under_way_[0]
    std::vector<float> turned_;
};

}  // namespace

std::vector<int64_t> EmbedTargets::offsets() const {
    std::vector<int64_t> all{0};
    all.reserve(segments.size() + 1);
    for (const Segment& s : segments) all.push_back(all.back() + s.size());
    return all;
}

bool rows_in_order(const EmbedTargets& targets, const EmbedSettings& settings) {
    return settings.strands == BothStrands::no && settings.pool == EmbedPool::none && targets.whole_records;
}

void embed(LanguageModel& model, const Compute& compute, const Tokenizer& tokenizer,
           const EmbedTargets& targets, const EmbedSettings& settings, EmbeddingFile& file,
           const std::function<void(const EmbedProgress&)>& progress, const std::atomic<bool>* stop) {
    Walk walk(targets, settings, file);
    ThreadPool one(1);
    const int64_t outputs = settings.outputs.count(), M = model.config().d_model;
    TargetPools pools(compute.pool ? *compute.pool : one, settings.pool, outputs, M,
                      [&](const TargetPiece& p, int64_t rows, const float* values) {
                          walk.put(p, rows, values, outputs * M);
                      });
    TilePlan plan = tile_plan(model, compute, settings, rows_in_order(targets, settings));
    TargetTiles tiles(tokenizer, targets.records, targets.segments, plan);
    plan.tile = std::min(plan.tile, tiles.tokens_in_all());
    const auto take = [&](int64_t i, int64_t index, const TensorRef& v) { walk.take(pools, i, index, v); };
    // A tile that was asked for stays.
    const auto embedder =
        make_with_room("--tile", plan.tile, settings.tile ? plan.tile : kLeastScoreTile, [&](int64_t T) {
            T = whole_tile(model, T);
            const int64_t rows = std::clamp<int64_t>(T / 16, 1, plan.rows);
            return std::make_unique<Embedder>(model, compute, rows, T, settings.outputs, take);
        });
    tiles.set_tile(embedder->tile(), embedder->rows());
    TargetTile tile;
    for (int64_t i = 0; tiles.next(tile); ++i) {
        if (stop && stop->load(std::memory_order_relaxed)) throw Interrupted{};
        walk.expect(tile.pieces);
        TokenRows in;
        in.count = tile.rows;
        in.n = tile.n;
        in.t0 = tile.t0;
        in.stride = tile.n;
        in.ids = tile.ids.data();
        in.start = tile.start.data();
        embedder->run(in, i);
        if (progress) progress({tiles.tokens_given(), tiles.tokens_in_all()});
    }
    embedder->finish();
}

}  // namespace adder
