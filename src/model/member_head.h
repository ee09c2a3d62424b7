// What heads have in common, and the head of a classifier of members: a linear map on the pool of what the backbone gives
// for a member's positions. The pool is a running one (kernels/pool), so that a member may lie across any number of tiles:
// the loss stands at its last position, and the gradient goes back through the state of the pool.
#pragma once
#include "core/ctx.h"
#include "kernels/pool/pool.h"
#include "model/config.h"
#include "model/layer.h"

namespace adder {

struct LossArgs {
    TensorRef targets;  // (B,T) u16
    TensorRef weights;  // (B,T) f32
    int64_t t0 = 0;     // absolute position of the first step
};

struct LossOut {
    TensorRef sums;  // (2) f64, = or, with add_sums, +=: loss and W, un-normalised
    TensorRef nats;  // (B,T) f64, =; absent = not wanted
    TensorRef d_y;   // (B,T,M) storage, =; the head's gradient is added to. Absent = no gradient of y is wanted
    bool add_sums = false;
    bool head_gradient = false;  // the head's gradient is wanted without d_y too
};

// Steps of a slice of B rows of V logits: logits never exist for all of a long tile. A power of two, so that most slices
// begin where ops cut their sums over time; at least one.
int64_t logit_slice(int64_t B, int64_t V);

class MemberHead {
  public:
    explicit MemberHead(const ModelConfig& config)
        : M_(config.d_model), C_(static_cast<int64_t>(config.classes.size())), kind_(config.pool) {}

    int64_t classes() const { return C_; }
    void visit(ParamVisitor& visitor);
    // The last position needs none.
    bool has_state() const { return kind_ != PoolKind::last; }
    StateSpec state_spec(int64_t B) const;

    // States of one tile. Absent ones are not wanted; `out` may be `in`.
    struct States {
        State in, out, d;  // d: the gradient of the state at t1 on entry, at t0 on return
    };
    // y (B,T,M): the state alone.
    void forward(Ctx& ctx, const Tile& tile, const TensorRef& y, State in, State out) const;
    // y (B,T,M) -> z (B,T,M), accumulation type.
    void pool(Ctx& ctx, const Tile& tile, const TensorRef& y, const TensorRef& z, const States& states) const;
    // z (B,T,M) -> logits (B,T,C), accumulation type.
    void logits(Ctx& ctx, const TensorRef& z, const TensorRef& logits, int64_t t0) const;
    // The same of one position a row, z (B,1,M) -> (B,1,C): a row's bits depend on nothing outside it.
    void logits_step(Ctx& ctx, const TensorRef& z, const TensorRef& logits) const;
    // Where weights are not 0 a member ends and the target is its class.
    void loss(Ctx& ctx, const Tile& tile, const TensorRef& y, const LossArgs& args, const LossOut& out,
              const States& states) const;

  private:
    PoolArgs pool_args(const Tile& tile, const TensorRef& y, State in) const;
    TensorRef slot(State state) const { return state.empty() ? TensorRef{} : state[0]; }

    int64_t M_, C_;
    PoolKind kind_;
    Param weight_, bias_;
};

}  // namespace adder
