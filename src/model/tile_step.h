// One tile's training, shared by planning (dry run) and running.
#pragma once
#include "kernels/cross_entropy/cross_entropy.h"
#include "model/model.h"

namespace adder {

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

}  // namespace adder
