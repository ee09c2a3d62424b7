#include "model/stack.h"

#include "model/registry.h"

namespace adder {

Stack::Stack(const ModelConfig& c, int64_t n_blocks) : M_(c.d_model), eps_(static_cast<float>(c.norm_epsilon)) {
    const MixerEntry& entry = find_mixer(c.mixer);
    for (int64_t i = 0; i < n_blocks; ++i) blocks_.push_back({entry.make(c), {}});
    slots_ = blocks_[0].mixer->state_spec(1).size();
}

void Stack::visit(ParamVisitor& v) {
    const Init ones{Init::Kind::constant, 1};
    for (size_t i = 0; i < blocks_.size(); ++i)
        v.nested("layers." + std::to_string(i) + ".", [&] {
            v("norm.weight", blocks_[i].norm, {M_}, ones, kVector);
            v.nested("mixer.", [&] { blocks_[i].mixer->visit(v); });
        });
    v("norm_f.weight", norm_f_, {M_}, ones, kVector);
}

StateSpec Stack::state_spec(int64_t B) const {
    StateSpec all;
    for (size_t i = 0; i < blocks_.size(); ++i)
        for (StateSlot& slot : blocks_[i].mixer->state_spec(B))
            all.push_back({"layers." + std::to_string(i) + "." + slot.name, slot.shape});
    return all;
}

void Stack::forward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& y, State in, State out, Saved* saved) {
    forward_stream(ctx, tile, {x, {}}, y, {}, in, out, saved);
}

TensorRef Stack::forward_stream(Ctx& ctx, const Tile& tile, const Stream& from, const TensorRef& y, const TensorRef& sum,
                                State in, State out, Saved* saved) {
    ArenaScope scope(*ctx.scratch);
    const Shape shape{tile.shape.B, tile.shape.T, M_};
    const DType storage = from.x.dtype, accum = accum_of(storage);
    const TensorRef hidden = ctx.scratch->alloc(storage, shape);
    // Without `saved` the residual stream is updated in place.
    TensorRef residual, normed, last = from.x;
    if (!saved) {
        residual = sum ? sum : ctx.scratch->alloc(accum, shape);
        normed = ctx.scratch->alloc(storage, shape);
    }
    TensorRef before = from.residual;
    for (size_t i = 0; i < blocks_.size(); ++i) {
        if (saved) {
            residual = saved->arena.alloc(accum, shape);
            normed = saved->arena.alloc(storage, shape);
        }
        add_norm_forward(ctx, {last, before, blocks_[i].norm.value, eps_}, residual, normed);
        before = residual;
        if (ctx.tap && !ctx.tap->take(ctx, static_cast<int64_t>(i), residual) && !y) return {};
        const bool wanted = y || i + 1 < blocks_.size();
        blocks_[i].mixer->forward(ctx, tile, normed, wanted ? hidden : TensorRef{}, part(in, i), part(out, i), saved);
        if (saved) {
            saved->push(residual);
            saved->push(normed);
        }
        last = hidden;
    }
    if (!y) return {};
    if (saved) residual = saved->push(accum, shape);
    add_norm_forward(ctx, {last, before, norm_f_.value, eps_}, residual, y);
    if (ctx.tap) ctx.tap->take(ctx, shown_blocks(), residual);
    return residual;
}

void Stack::backward(Ctx& ctx, const Tile& tile, const TensorRef&, const TensorRef& dy, const TensorRef& dx, State in,
                     State d_state, Saved& saved) {
    ArenaScope scope(*ctx.scratch);
    const DType accum = accum_of(dy.dtype);
    // What carries the gradient of the residual stream through all blocks.
    const TensorRef d_stream = dx.dtype == accum ? dx : ctx.scratch->alloc(accum, dx.shape);
    fill_zero(ctx, d_stream);
    backward_stream(ctx, tile, dy, d_stream, dx.dtype == accum ? TensorRef{} : dx, in, d_state, saved);
}

void Stack::backward_stream(Ctx& ctx, const Tile& tile, const TensorRef& dy, const TensorRef& d_stream, const TensorRef& d_x,
                            State in, State d_state, Saved& saved) {
    ArenaScope scope(*ctx.scratch);
    const Shape shape{tile.shape.B, tile.shape.T, M_};
    // Mixers read it in the storage type.
    const bool narrow = dy.dtype != d_stream.dtype;
    const TensorRef rounded = narrow ? ctx.scratch->alloc(dy.dtype, shape) : TensorRef{};
    add_norm_backward(ctx, norm_args(norm_f_), saved.pop(), dy, d_stream, norm_f_.grad, rounded);
    const TensorRef d_normed = ctx.scratch->alloc(dy.dtype, shape);
    for (size_t i = blocks_.size(); i-- > 0;) {
        const TensorRef normed = saved.pop(), residual = saved.pop();
        const TensorRef& d_hidden = narrow ? rounded : d_stream;
        blocks_[i].mixer->backward(ctx, tile, normed, d_hidden, d_normed, part(in, i), part(d_state, i), saved);
        add_norm_backward(ctx, norm_args(blocks_[i].norm), residual, d_normed, d_stream, blocks_[i].norm.grad,
                          i > 0 ? rounded : narrow ? d_x : TensorRef{});
    }
}

void Stack::step(Ctx& ctx, const TensorRef& x, const TensorRef& y, State state, int64_t) {
    ArenaScope scope(*ctx.scratch);
    step_stream(ctx, {x, {}}, y, ctx.scratch->alloc(accum_of(x.dtype), x.shape), state);
}

void Stack::step_stream(Ctx& ctx, const Stream& from, const TensorRef& y, const TensorRef& sum, State state) {
    ArenaScope scope(*ctx.scratch);
    const TensorRef hidden = ctx.scratch->alloc(from.x.dtype, from.x.shape);
    StepStream stream = alloc_step_stream(ctx, from.x.dtype, from.x.size(0), M_);
    stream.weight = blocks_[0].norm.value;
    stream.eps = eps_;
    add_to_stream(ctx, from.x, from.residual, stream);
    for (size_t i = 0; i < blocks_.size(); ++i) {
        StepEnd end{{}, stream};
        if (i + 1 < blocks_.size())
            end.stream.weight = blocks_[i + 1].norm.value;
        else
            end.y = hidden;
        blocks_[i].mixer->step_normed(ctx, stream, end, part(state, i));
        stream = end.stream;
    }
    add_norm_forward(ctx, {hidden, stream.residual, norm_f_.value, eps_}, sum, y);
}

void Stack::norm_rows(Ctx& ctx, const TensorRef& sum, const TensorRef& y) const {
    ArenaScope scope(*ctx.scratch);
    const TensorRef nothing = ctx.scratch->alloc(y.dtype, y.shape);
    fill_zero(ctx, nothing);
    add_norm_forward(ctx, {nothing, sum, norm_f_.value, eps_}, sum, y);
}

std::unique_ptr<Layer> make_stack(const ModelConfig& config) { return std::make_unique<Stack>(config, config.n_layer); }

}  // namespace adder
