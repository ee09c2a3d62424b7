#include "model/stack.h"

#include <utility>

#include "kernels/norm/norm.h"
#include "model/registry.h"

namespace adder {

namespace {

class Stack final : public Layer {
  public:
    explicit Stack(const ModelConfig& c) : M_(c.d_model), eps_(static_cast<float>(c.norm_epsilon)) {
        const MixerEntry& entry = find_mixer(c.mixer);
        for (int64_t i = 0; i < c.n_layer; ++i) blocks_.push_back({entry.make(c), {}});
        slots_ = blocks_[0].mixer->state_spec(1).size();
    }

    void visit(ParamVisitor& v) override {
        const Init ones{Init::Kind::constant, 1};
        for (size_t i = 0; i < blocks_.size(); ++i)
            v.nested("layers." + std::to_string(i) + ".", [&] {
                v("norm.weight", blocks_[i].norm, {M_}, ones, kVector);
                v.nested("mixer.", [&] { blocks_[i].mixer->visit(v); });
            });
        v("norm_f.weight", norm_f_, {M_}, ones, kVector);
    }

    StateSpec state_spec(int64_t B) const override {
        StateSpec all;
        for (size_t i = 0; i < blocks_.size(); ++i)
            for (StateSlot& slot : blocks_[i].mixer->state_spec(B))
                all.push_back({"layers." + std::to_string(i) + "." + slot.name, slot.shape});
        return all;
    }

    int64_t shown_blocks() const override { return static_cast<int64_t>(blocks_.size()); }

    void forward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& y, State in, State out,
                 Saved* saved) override {
        ArenaScope scope(*ctx.scratch);
        const Shape shape{tile.shape.B, tile.shape.T, M_};
        const DType accum = accum_of(x.dtype);
        const TensorRef hidden = ctx.scratch->alloc(x.dtype, shape);
        // Without `saved` the residual stream is updated in place.
        TensorRef residual, normed, last = x;
        if (!saved) {
            residual = ctx.scratch->alloc(accum, shape);
            normed = ctx.scratch->alloc(x.dtype, shape);
        }
        TensorRef before;
        for (size_t i = 0; i < blocks_.size(); ++i) {
            if (saved) {
                residual = saved->arena.alloc(accum, shape);
                normed = saved->arena.alloc(x.dtype, shape);
            }
            add_norm_forward(ctx, {last, before, blocks_[i].norm.value, eps_}, residual, normed);
            before = residual;
            if (ctx.tap && !ctx.tap->take(ctx, static_cast<int64_t>(i), residual) && !y) return;
            const bool wanted = y || i + 1 < blocks_.size();
            blocks_[i].mixer->forward(ctx, tile, normed, wanted ? hidden : TensorRef{}, part(in, i), part(out, i), saved);
            if (saved) {
                saved->push(residual);
                saved->push(normed);
            }
            last = hidden;
        }
        if (!y) return;
        if (saved) residual = saved->push(accum, shape);
        add_norm_forward(ctx, {last, before, norm_f_.value, eps_}, residual, y);
        if (ctx.tap) ctx.tap->take(ctx, shown_blocks(), residual);
    }

    void backward(Ctx& ctx, const Tile& tile, const TensorRef&, const TensorRef& dy, const TensorRef& dx, State in,
                  State d_state, Saved& saved) override {
        ArenaScope scope(*ctx.scratch);
        const Shape shape{tile.shape.B, tile.shape.T, M_};
        // dx carries the gradient of the residual stream through all blocks.
        fill_zero(ctx, dx);
        // Mixers read it in the storage type.
        const bool narrow = dy.dtype != dx.dtype;
        const TensorRef rounded = narrow ? ctx.scratch->alloc(dy.dtype, shape) : TensorRef{};
        add_norm_backward(ctx, norm_args(norm_f_), saved.pop(), dy, dx, norm_f_.grad, rounded);
        const TensorRef d_normed = ctx.scratch->alloc(dy.dtype, shape);
        for (size_t i = blocks_.size(); i-- > 0;) {
            const TensorRef normed = saved.pop(), residual = saved.pop();
            const TensorRef& d_hidden = narrow ? rounded : dx;
            blocks_[i].mixer->backward(ctx, tile, normed, d_hidden, d_normed, part(in, i), part(d_state, i), saved);
            add_norm_backward(ctx, norm_args(blocks_[i].norm), residual, d_normed, dx, blocks_[i].norm.grad,
                              i > 0 ? rounded : TensorRef{});
        }
    }

    void step(Ctx& ctx, const TensorRef& x, const TensorRef& y, State state) override {
        ArenaScope scope(*ctx.scratch);
        const TensorRef hidden = ctx.scratch->alloc(x.dtype, x.shape);
        const DType accum = accum_of(x.dtype);
        // The residual stream goes to and fro between two places.
        TensorRef residual = ctx.scratch->alloc(accum, x.shape), other = ctx.scratch->alloc(accum, x.shape);
        TensorRef before, last = x;
        for (size_t i = 0; i < blocks_.size(); ++i) {
            blocks_[i].mixer->step_normed(ctx, {last, before, blocks_[i].norm.value, eps_}, residual, hidden, part(state, i));
            before = residual;
            last = hidden;
            std::swap(residual, other);
        }
        add_norm_forward(ctx, {last, before, norm_f_.value, eps_}, residual, y);
    }

  private:
    struct Block {
        std::unique_ptr<Layer> mixer;
        Param norm;
    };
    State part(State all, size_t i) const { return all.subspan(i * slots_, slots_); }
    AddNormArgs norm_args(const Param& norm) const { return {{}, {}, norm.value, eps_}; }

    int64_t M_;
    float eps_;
    std::vector<Block> blocks_;
    Param norm_f_;
    size_t slots_;
};

}  // namespace

std::unique_ptr<Layer> make_stack(const ModelConfig& config) { return std::make_unique<Stack>(config); }

}  // namespace adder
