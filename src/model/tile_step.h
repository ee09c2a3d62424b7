// One tile's training, shared by planning (dry run) and running.
#pragma once
#include "core/batch.h"
#include "model/model.h"

namespace adder {

struct TileStep {
    LanguageModel& model;
    Ctx& ctx;
    DType storage;

    // y, from `saved`; absent where nothing is kept, for then only the state is wanted.
    TensorRef forward(const Tile& tile, const TokenTile& tokens, State in, State out, Saved* saved) const {
        ArenaScope scope(*ctx.scratch);
        const Shape shape{tile.shape.B, tile.shape.T, model.config().d_model};
        const TensorRef y = saved ? saved->arena.alloc(storage, shape) : TensorRef{};
        const TensorRef x = ctx.scratch->alloc(storage, shape);
        model.embed(ctx, tokens.ids, x);
        model.backbone().forward(ctx, tile, x, y, in, out, saved);
        return y;
    }

    // Adds to `sums`, loss and W.
    void backward(const Tile& tile, const TokenTile& tokens, const TensorRef& y, const TensorRef& sums, State in,
                  State d_state, Saved& saved) const {
        ArenaScope scope(*ctx.scratch);
        const Shape shape{tile.shape.B, tile.shape.T, model.config().d_model};
        const TensorRef d_y = ctx.scratch->alloc(storage, shape);
        model.loss(ctx, y, {tokens.targets, tokens.weights, tile.t0}, {sums, {}, d_y, true});
        const TensorRef d_x = ctx.scratch->alloc(accum_of(storage), shape);
        model.backbone().backward(ctx, tile, {}, d_y, d_x, in, d_state, saved);
        model.embed_backward(ctx, tokens.ids, d_x, tile.t0);
    }
};

}  // namespace adder
