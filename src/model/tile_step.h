// One tile's training, shared by planning (dry run) and running.
#pragma once
#include "core/batch.h"
#include "model/model.h"

namespace adder {

struct TileStep {
    LanguageModel& model;
    Ctx& ctx;
    DType storage;

    // y, from `saved`; absent where nothing is kept, for then only the state is wanted. The state of a pool needs the
    // last layer's output.
    TensorRef forward(const Tile& tile, const TokenTile& tokens, State in, State out, Saved* saved) const {
        ArenaScope scope(*ctx.scratch);
        const Shape shape{tile.shape.B, tile.shape.T, model.config().d_model};
        const MemberHead* head = model.member_head();
        const bool pools = head && head->has_state();
        const TensorRef y = saved ? saved->arena.alloc(storage, shape)
                            : pools ? ctx.scratch->alloc(storage, shape) : TensorRef{};
        const TensorRef x = ctx.scratch->alloc(storage, shape);
        model.embed(ctx, tokens.ids, x);
        model.backbone().forward(ctx, tile, x, y, model.backbone_part(in), model.backbone_part(out), saved);
        if (pools) head->forward(ctx, tile, y, model.head_part(in), model.head_part(out));
        return saved ? y : TensorRef{};
    }

    // Adds to `sums`, loss and W.
    void backward(const Tile& tile, const TokenTile& tokens, const TensorRef& y, const TensorRef& sums, State in,
                  State d_state, Saved& saved) const {
        ArenaScope scope(*ctx.scratch);
        const Shape shape{tile.shape.B, tile.shape.T, model.config().d_model};
        const TensorRef d_y = ctx.scratch->alloc(storage, shape);
        const LossArgs targets{tokens.targets, tokens.weights, tile.t0};
        const LossOut out{sums, {}, d_y, true};
        if (const MemberHead* head = model.member_head())
            head->loss(ctx, tile, y, targets, out, {model.head_part(in), {}, model.head_part(d_state)});
        else
            model.loss(ctx, y, targets, out);
        const TensorRef d_x = ctx.scratch->alloc(accum_of(storage), shape);
        model.backbone().backward(ctx, tile, {}, d_y, d_x, model.backbone_part(in), model.backbone_part(d_state), saved);
        model.embed_backward(ctx, tokens.ids, d_x, tile.t0);
    }

    // Reads a tile into `state`, which is updated in place; with `nats` (B,T) each counted token's loss goes
    // there and is added to `sums`.
    void score(const Tile& tile, const TokenTile& tokens, const TensorRef& sums, const TensorRef& nats,
               State state) const {
        ArenaScope scope(*ctx.scratch);
        const Shape shape{tile.shape.B, tile.shape.T, model.config().d_model};
        const TensorRef x = ctx.scratch->alloc(storage, shape);
        const TensorRef y = nats ? ctx.scratch->alloc(storage, shape) : TensorRef{};
        model.embed(ctx, tokens.ids, x);
        model.backbone().forward(ctx, tile, x, y, state, state, nullptr);
        if (nats) model.loss(ctx, y, {tokens.targets, tokens.weights, tile.t0}, {sums, nats, {}});
    }

    // Training of a member head on a frozen backbone: no gradient goes back, so that one pass forward is all. The state is
    // updated in place; adds to `sums`.
    void head_only(const Tile& tile, const TokenTile& tokens, const TensorRef& sums, State state) const {
        ArenaScope scope(*ctx.scratch);
        const Shape shape{tile.shape.B, tile.shape.T, model.config().d_model};
        const TensorRef x = ctx.scratch->alloc(storage, shape), y = ctx.scratch->alloc(storage, shape);
        model.embed(ctx, tokens.ids, x);
        model.backbone().forward(ctx, tile, x, y, model.backbone_part(state), model.backbone_part(state), nullptr);
        const State pool = model.head_part(state);
        model.member_head()->loss(ctx, tile, y, {tokens.targets, tokens.weights, tile.t0}, {sums, {}, {}, true, true},
                                  {pool, pool, {}});
    }
};

}  // namespace adder
