#include "model/unet.h"

#include <cmath>

#include "core/ceil_div.h"
#include "kernels/gemm/gemm.h"
#include "kernels/shift/shift.h"
#include "model/stack.h"

namespace adder {

namespace {

// A stage and all below it.
class Level final : public Layer {
  public:
    Level(const ModelConfig& c, int64_t i)
        : name_("stages." + std::to_string(i) + "."), p_(c.stage_pools[static_cast<size_t>(i)]), M_(c.stage(i).d_model),
          inner_M_(c.stage(i + 1).d_model), down_(c.stage(i), c.n_layer), up_(c.stage(i), c.n_layer) {
        if (i + 2 < c.n_stages()) {
            inner_ = std::make_unique<Level>(c, i + 1);
        } else {
            inner_ = std::make_unique<Stack>(c.stage(i + 1), c.n_layer);
            inner_name_ = "stages." + std::to_string(i + 1) + ".";
        }
        n_slots_ = down_.state_spec(1).size();
        n_inner_ = inner_->state_spec(1).size();
    }

    int64_t stride() const override { return p_ * inner_->stride(); }

    void visit(ParamVisitor& v) override {
        const auto fan_in = [](int64_t n) {
            const double bound = 1 / std::sqrt(static_cast<double>(n));
            return Init{Init::Kind::uniform, -bound, bound};
        };
        v.nested(name_, [&] {
            v.nested("down.", [&] { down_.visit(v); });
            v("pool.weight", pool_, {inner_M_, p_ * M_}, fan_in(p_ * M_), kMatrix);
            v("pool.bias", pool_bias_, {inner_M_}, fan_in(p_ * M_), kVector);
            v("unpool.weight", unpool_, {p_ * M_, inner_M_}, fan_in(inner_M_), kMatrix);
            v("unpool.bias", unpool_bias_, {p_ * M_}, fan_in(inner_M_), kVector);
            v.nested("up.", [&] { up_.visit(v); });
        });
        v.nested(inner_name_, [&] { inner_->visit(v); });
    }

    // down, inner, up, open group, pending row
    StateSpec state_spec(int64_t B) const override {
        StateSpec all;
        const auto add = [&](const std::string& prefix, const StateSpec& part) {
            for (const StateSlot& slot : part) all.push_back({prefix + slot.name, slot.shape});
        };
        add(name_ + "down.", down_.state_spec(B));
        add(inner_name_, inner_->state_spec(B));
        add(name_ + "up.", up_.state_spec(B));
        add(name_, {{"open", {B, p_, M_}}, {"pending", {B, 1, inner_M_}}});
        return all;
    }

    void forward(Ctx& given, const Tile& tile, const TensorRef& x, const TensorRef& y, State in, State out,
                 Saved* saved) override {
        Ctx ctx = given;
        ctx.tap = nullptr;  // streams of several widths and rates are not shown
        ArenaScope scope(*ctx.scratch);
        const auto [B, T] = tile.shape;
        const Groups g = groups(tile);
        const TensorRef room = saved ? TensorRef{} : ctx.scratch->alloc(accum_of(x.dtype), {B, T, M_});
        const TensorRef normed = (saved ? saved->arena : *ctx.scratch).alloc(x.dtype, {B, T, M_});
        const TensorRef stream = down_.forward_stream(ctx, tile, {x, {}}, normed, room, down(in), down(out), saved);
        if (saved) saved->push(normed);
        // Rows past the last whole group wait there for single steps.
        fill_zero(ctx, open(out));
        const int64_t rest = T - g.whole * p_;
        copy(ctx, stream.slice(1, T - rest, rest), open(out).slice(1, 0, rest));
        const TensorRef u = ctx.scratch->alloc(x.dtype, {B, g.all * p_, M_});
        forward_inner(ctx, tile, normed, u.reshape({B, g.all, p_ * M_}), in, out, saved);
        up_.forward_stream(ctx, tile, {u.slice(1, 0, T), stream}, y, room, up(in), up(out), saved);
    }

    void backward(Ctx& ctx, const Tile& tile, const TensorRef&, const TensorRef& dy, const TensorRef& dx, State in,
                  State d_state, Saved& saved) override {
        ArenaScope scope(*ctx.scratch);
        const auto [B, T] = tile.shape;
        const Groups g = groups(tile);
        const DType storage = dy.dtype, accum = accum_of(storage);
        // Carries the gradient of the residual stream.
        const TensorRef d_stream = dx.dtype == accum ? dx : ctx.scratch->alloc(accum, dx.shape);
        fill_zero(ctx, d_stream);
        TensorRef d_u = storage == accum ? d_stream : ctx.scratch->alloc(storage, {B, T, M_});
        up_.backward_stream(ctx, tile, dy, d_stream, storage == accum ? TensorRef{} : d_u, up(in), up(d_state), saved);
        if (g.all > g.whole) {
            const TensorRef padded = ctx.scratch->alloc(storage, {B, g.all * p_, M_});
            fill_zero(ctx, padded);
            copy(ctx, d_u, padded.slice(1, 0, T));
            d_u = padded;
        }
        const TensorRef d_normed = ctx.scratch->alloc(storage, {B, T, M_});
        backward_inner(ctx, tile, d_u.reshape({B, g.all, p_ * M_}), d_normed, in, d_state, saved);
        down_.backward_stream(ctx, tile, d_normed, d_stream, dx.dtype == accum ? TensorRef{} : dx, down(in), down(d_state),
                              saved);
    }

    void step(Ctx& ctx, const TensorRef& x, const TensorRef& y, State state, int64_t phase) override {
        ArenaScope scope(*ctx.scratch);
        const int64_t B = x.size(0), j = phase % p_;
        const bool completes = j + 1 == p_;
        const auto row = [&](int64_t width) { return ctx.scratch->alloc(x.dtype, {B, 1, width}); };
        const TensorRef stream = open(state).slice(1, j, 1), waiting = row(inner_M_), inner_y = row(inner_M_);
        down_.step_stream(ctx, {x, {}}, row(M_), stream, down(state));
        if (completes) step_inner(ctx, inner_y, state, phase / p_);
        // The row that came before; the new one is for the next group.
        shift_forward(ctx, {completes ? inner_y : TensorRef{}, {}, pending(state)}, waiting,
                      completes ? pending(state) : TensorRef{});
        const TensorRef u = row(M_);
        linear_step(ctx, {waiting, unpool_.value.slice(0, j * M_, M_), unpool_bias_.value.slice(0, j * M_, M_), 0}, u);
        up_.step_stream(ctx, {u, stream}, y, ctx.scratch->alloc(accum_of(x.dtype), x.shape), up(state));
    }

  private:
    // Of a tile's rows: whole ones and all, that is with an open one at the end.
    struct Groups {
        int64_t whole, all;
    };
    Groups groups(const Tile& tile) const { return {tile.shape.T / p_, ceil_div(tile.shape.T, p_)}; }

    State down(State s) const { return s.subspan(0, n_slots_); }
    State inner(State s) const { return s.subspan(n_slots_, n_inner_); }
    State up(State s) const { return s.subspan(n_slots_ + n_inner_, n_slots_); }
    const TensorRef& open(State s) const { return s[2 * n_slots_ + n_inner_]; }        // (B,p,M)
    const TensorRef& pending(State s) const { return s[2 * n_slots_ + n_inner_ + 1]; }  // (B,1,inner M)

    // The first n groups of p rows of t (B,T,M), side by side: (B,n,p M).
    TensorRef side_by_side(const TensorRef& t, int64_t n) const {
        TensorRef s = t.slice(1, 0, n * p_);
        s.shape = {t.size(0), n, p_ * M_};
        s.stride = {t.stride[0], p_ * M_, 1, 0};
        return s;
    }
    // The absolute position of the tile's first group. Memory is planned for that which needs most.
    int64_t inner_t0(const Ctx& ctx, const Tile& tile) const { return ctx.dry_run ? kPlanningPosition : tile.t0 / p_; }
    Tile inner_tile(const Ctx& ctx, const Tile& tile, const TensorRef& flags) const {
        const int64_t n = groups(tile).whole;
        return {{tile.shape.B, n}, inner_t0(ctx, tile), flags ? flags.slice(1, 0, n) : flags};
    }
    // Which groups begin members; absent where the tile has no flags.
    TensorRef flags_of_groups(Ctx& ctx, const Tile& tile) const {
        if (!tile.start) return {};
        const TensorRef flags = ctx.scratch->alloc(DType::u8, {tile.shape.B, groups(tile).all});
        group_starts(ctx, tile.start, p_, flags);
        return flags;
    }

    // normed (B,T,M) -> u (B,all,p M), what the stages below add to this one.
    void forward_inner(Ctx& ctx, const Tile& tile, const TensorRef& normed, const TensorRef& u, State in, State out,
                       Saved* saved) {
        ArenaScope scope(*ctx.scratch);
        const int64_t B = tile.shape.B;
        const Groups g = groups(tile);
        const DType storage = normed.dtype;
        const bool is_open = g.all > g.whole;
        const TensorRef flags = flags_of_groups(ctx, tile);
        const TensorRef coarse = ctx.scratch->alloc(storage, {B, g.all, inner_M_});
        // What stands in the open group's row is read and not used.
        if (is_open) fill_zero(ctx, coarse);
        if (g.whole > 0) {
            const TensorRef x = ctx.scratch->alloc(storage, {B, g.whole, inner_M_});
            const int64_t t0 = inner_t0(ctx, tile);
            linear_forward(ctx, {side_by_side(normed, g.whole), pool_.value, pool_bias_.value, t0}, x);
            inner_->forward(ctx, inner_tile(ctx, tile, flags), x, coarse.slice(1, 0, g.whole), inner(in), inner(out), saved);
        } else if (inner(in)[0].data != inner(out)[0].data) {
            for (size_t i = 0; i < n_inner_; ++i) copy(ctx, inner(in)[i], inner(out)[i]);
        }
        const TensorRef shifted = keep(ctx, saved, storage, {B, g.all, inner_M_});
        shift_forward(ctx, {coarse, flags, pending(in)}, shifted, is_open ? TensorRef{} : pending(out));
        if (is_open) leave_open(ctx, shifted.slice(1, g.whole, 1), flags ? flags.slice(1, g.whole, 1) : flags, out);
        linear_forward(ctx, {shifted, unpool_.value, unpool_bias_.value, inner_t0(ctx, tile)}, u);
    }

    // The state behind an open group: the row that the group was given, (B,1,inner M), stays pending, and a start in the
    // group's first step, flag (B,1), cuts the stages below, which have not seen it.
    void leave_open(Ctx& ctx, const TensorRef& given, const TensorRef& flag, State out) const {
        shift_forward(ctx, {given, {}, {}}, {}, pending(out));
        if (!flag) return;
        for (const TensorRef& slot : inner(out)) {
            const TensorRef rows = slot.reshape({slot.size(0), 1, slot.numel() / slot.size(0)});
            shift_forward(ctx, {{}, flag, rows}, rows, {});
        }
    }

    // d_u (B,all,p M) -> d_normed (B,T,M), =.
    void backward_inner(Ctx& ctx, const Tile& tile, const TensorRef& d_u, const TensorRef& d_normed, State in, State d_state,
                        Saved& saved) {
        ArenaScope scope(*ctx.scratch);
        const int64_t B = tile.shape.B, t0 = inner_t0(ctx, tile);
        const Groups g = groups(tile);
        const TensorRef flags = flags_of_groups(ctx, tile);
        const TensorRef shifted = saved.pop();
        linear_backward_weight(ctx, {shifted, unpool_.value, unpool_bias_.value, t0}, d_u, unpool_.grad, unpool_bias_.grad);
        const TensorRef d_shifted = ctx.scratch->alloc(d_u.dtype, {B, g.all, inner_M_});
        linear_backward_input(ctx, {{}, unpool_.value, {}, t0}, d_u, d_shifted, false);
        const TensorRef d_coarse = ctx.scratch->alloc(d_u.dtype, {B, g.all, inner_M_});
        // Behind an open group the sequence ends: no gradient comes from there.
        shift_backward(ctx, flags, d_shifted, d_coarse, pending(d_state));
        const TensorRef d_x = ctx.scratch->alloc(d_u.dtype, {B, g.whole, inner_M_});
        if (g.whole > 0)
            inner_->backward(ctx, inner_tile(ctx, tile, flags), {}, d_coarse.slice(1, 0, g.whole), d_x, inner(in),
                             inner(d_state), saved);
        const TensorRef normed = saved.pop();
        if (g.all > g.whole) fill_zero(ctx, d_normed);
        if (g.whole == 0) return;
        linear_backward_weight(ctx, {side_by_side(normed, g.whole), pool_.value, pool_bias_.value, t0}, d_x, pool_.grad,
                               pool_bias_.grad);
        linear_backward_input(ctx, {{}, pool_.value, {}, t0}, d_x, side_by_side(d_normed, g.whole), false);
    }

    // A step of the stages below on the group that is complete now: y (B,1,inner M).
    void step_inner(Ctx& ctx, const TensorRef& y, State state, int64_t phase) {
        ArenaScope scope(*ctx.scratch);
        const int64_t B = y.size(0);
        const TensorRef group = ctx.scratch->alloc(y.dtype, {B, p_, M_}), x = ctx.scratch->alloc(y.dtype, y.shape);
        down_.norm_rows(ctx, open(state), group);
        linear_step(ctx, {group.reshape({B, 1, p_ * M_}), pool_.value, pool_bias_.value, 0}, x);
        inner_->step(ctx, x, y, inner(state), phase);
    }

    std::string name_, inner_name_;  // of the parameters; the latter empty where the inner layer names its own
    int64_t p_, M_, inner_M_;
    Stack down_, up_;
    std::unique_ptr<Layer> inner_;
    Param pool_, pool_bias_, unpool_, unpool_bias_;
    size_t n_slots_, n_inner_;  // state slots of down and of up, of the inner layer
};

}  // namespace

std::unique_ptr<Layer> make_unet(const ModelConfig& config) { return std::make_unique<Level>(config, 0); }

}  // namespace adder
