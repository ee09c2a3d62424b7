// Layer: a function of a tile of the sequence and a state, forward and backward.
//
//   forward : (x[t0:t1], state at t0)         -> (y[t0:t1], state at t1)
//   backward: (dy[t0:t1], d state at t1)      -> (dx[t0:t1], d state at t0, d parameters +=)
//
// Training on any length, generation, prefill and streaming evaluation are this one mechanism. Rules of gradient flow:
// parameter gradients are added to, activation gradients are overwritten; the residual stream is the one exception.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/ctx.h"
#include "core/tensor.h"
#include "kernels/common/time_blocks.h"
#include "kernels/projection_step/projection_step.h"
#include "model/params.h"

namespace adder {

struct TileShape {
    int64_t B = 1, T = 1;
};

struct Tile {
    TileShape shape;
    int64_t t0 = 0;   // absolute position of the first step
    TensorRef start;  // (B,T) u8; 1 begins a packed member; absent = none
};

// A tile that begins here touches the most slices of time that a tile of its length can touch, so memory is planned for
// this position.
inline constexpr int64_t kPlanningPosition = kTimeSlice - 1;

struct StateSlot {
    std::string name;
    Shape shape;  // B outermost
};
using StateSpec = std::vector<StateSlot>;

// A layer's slots, in the order of its StateSpec, in the accumulation type. A container hands sub-spans to its parts.
using State = std::span<const TensorRef>;

// What one tile's forward keeps for its backward. Forward pushes, backward pops in reverse order, so nested layers need
// no names for each other's buffers.
class Saved {
  public:
    explicit Saved(Device device = Device::cpu) : arena(device, "what tiles keep for their backward pass") {}
    // Starts out counting; bind gives it memory.
    Arena arena;

    TensorRef push(DType dtype, const Shape& shape) { return push(arena.alloc(dtype, shape)); }
    // A tensor of this arena allocated earlier: pushed after its maker's parts so that it is popped before theirs.
    TensorRef push(const TensorRef& tensor);
    TensorRef pop();
    void clear();
    bool empty() const { return top_ == 0; }
    // As before the first pop: for a backward pass whose forward pass was a replay of recorded work.
    void rewind() { top_ = tensors_.size(); }

  private:
    std::vector<TensorRef> tensors_;
    size_t top_ = 0;
};

// From `saved` where it is given, else from the context's scratch (the caller's ArenaScope releases it).
inline TensorRef keep(Ctx& ctx, Saved* saved, DType dtype, const Shape& shape) {
    return saved ? saved->push(dtype, shape) : ctx.scratch->alloc(dtype, shape);
}

// Sees the residual stream of a backbone between its blocks, in forward passes that keep nothing.
class LayerTap {
  public:
    virtual ~LayerTap() = default;
    // `stream` (B,T,M) in the accumulation type, after so many blocks (0: the embedded tokens); what comes after this call
    // overwrites it. Returns whether a later one is wanted: where none is, a forward pass without y ends here.
    virtual bool take(Ctx& ctx, int64_t blocks, const TensorRef& stream) = 0;
};

// Stateless between calls; owns no memory. Memory is planned by running the same calls with ctx.dry_run.
class Layer {
  public:
    virtual ~Layer() = default;
    virtual void visit(ParamVisitor& visitor) = 0;
    // Tiles and packed members begin at multiples of it; only the last tile of a sequence may end elsewhere.
    virtual int64_t stride() const { return 1; }
    virtual StateSpec state_spec(int64_t B) const = 0;
    // Blocks of a backbone after which ctx.tap is called, and before the first; 0 = it is not.
    virtual int64_t shown_blocks() const { return 0; }
    // x, y (B,T,M). y absent: only the state is wanted. Null `saved`: keep nothing; only then may `in` be `out`.
    // `in` stays valid and unchanged until this tile's backward has run.
    virtual void forward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& y, State in, State out,
                         Saved* saved) = 0;
    // dy (B,T,M) in; dx (B,T,M), =: a mixer's in the storage type, a backbone's in either. `d_state` holds the gradient of
    // the state at t1 on entry, at t0 on return.
    virtual void backward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& dy, const TensorRef& dx,
                          State in, State d_state, Saved& saved) = 0;
    // One step for each of B independent rows; x, y (B,1,M); the state is updated in place. A row's bits do not depend
    // on the other rows. `phase`: the rows' steps before this one, modulo stride().
    virtual void step(Ctx& ctx, const TensorRef& x, const TensorRef& y, State state, int64_t phase) = 0;
    // The step on the norm of a residual stream, for mixers that can do more at once: y = step(the norm), or where the
    // end has no y, that is added to the end's stream, which is `stream` with the weight of the norm that comes.
    virtual void step_normed(Ctx& ctx, const StepStream& stream, const StepEnd& end, State state);
};

}  // namespace adder
