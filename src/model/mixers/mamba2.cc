#include "model/mixers/mamba2.h"

#include <cmath>

#include "kernels/conv1d/conv1d.h"
#include "kernels/gated_norm/gated_norm.h"
#include "kernels/gemm/gemm.h"
#include "kernels/projection_step/projection_step.h"
#include "kernels/ssd/ssd.h"

namespace adder {

namespace {

class Mamba2 final : public Layer {
  public:
    explicit Mamba2(const ModelConfig& c)
        : M_(c.d_model), D_(c.d_inner()), N_(c.d_state), K_(c.d_conv), P_(c.headdim), H_(c.n_heads()), G_(c.ngroups),
          C_(D_ + 2 * G_ * N_), n_layer_(c.n_layer), conv_bias_(c.conv_bias), eps_(static_cast<float>(c.norm_epsilon)),
          dt_min_(c.dt_min), dt_max_(c.dt_max), dt_floor_(c.dt_init_floor), discretization_(c.discretization) {}

    void visit(ParamVisitor& v) override {
        using Kind = Init::Kind;
        auto fan_in = [](int64_t n, double scale = 1) {
            const double bound = scale / std::sqrt(static_cast<double>(n));
            return Init{Kind::uniform, -bound, bound};
        };
        v("in_proj.weight", in_proj_, {D_ + C_ + H_, M_}, fan_in(M_), kMatrix);
        v("conv1d.weight", conv_weight_, {C_, K_}, fan_in(K_), kTaps, {C_, 1, K_});
        if (conv_bias_) v("conv1d.bias", conv_bias_param_, {C_}, fan_in(K_), kVector);
        v("dt_bias", dt_bias_, {H_}, {Kind::inverse_softplus_log_uniform, dt_min_, dt_max_, dt_floor_}, kVector);
        v("A_log", A_log_, {H_}, {Kind::log_uniform, 1, 16}, kVector);
        v("D", skip_, {H_}, {Kind::constant, 1}, kVector);
        v("norm.weight", norm_, {D_}, {Kind::constant, 1}, kVector);
        v("out_proj.weight", out_proj_, {M_, D_}, fan_in(D_, 1 / std::sqrt(static_cast<double>(n_layer_))), kMatrix);
    }

    StateSpec state_spec(int64_t B) const override { return {{"conv", {B, K_ - 1, C_}}, {"ssm", {B, H_, P_, N_}}}; }

    void forward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& y, State in, State out,
                 Saved* saved) override {
        ArenaScope scope(*ctx.scratch);
        const auto [B, T] = tile.shape;
        const DType dtype = x.dtype;
        const TensorRef zxbcdt = keep(ctx, saved, dtype, {B, T, D_ + C_ + H_});
        linear_forward(ctx, {x, in_proj_.value, {}, tile.t0}, zxbcdt);
        const TensorRef xbc = keep(ctx, saved, dtype, {B, T, C_});
        conv1d_forward(ctx, conv_args(tile, zxbcdt, in), xbc, out[0]);
        TensorRef y_ssd, chunk_states;
        if (y) y_ssd = keep(ctx, saved, dtype, {B, T, D_});
        if (saved)
            chunk_states =
                saved->push(ssd_chunk_states_dtype(dtype, P_, N_), ssd_chunk_states_shape(B, T, H_, P_, N_));
        ssd_forward(ctx, ssd_args(tile, zxbcdt, xbc, in), {y_ssd, out[1], chunk_states});
        if (!y) return;
        const TensorRef gated = ctx.scratch->alloc(dtype, {B, T, D_});
        gated_norm_forward(ctx, norm_args(zxbcdt, y_ssd), gated);
        linear_forward(ctx, {gated, out_proj_.value, {}, tile.t0}, y);
    }

    void backward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& dy, const TensorRef& dx, State in,
                  State d_state, Saved& saved) override {
        ArenaScope scope(*ctx.scratch);
        const auto [B, T] = tile.shape;
        const DType dtype = x.dtype;
        const TensorRef chunk_states = saved.pop(), y_ssd = saved.pop(), xbc = saved.pop(), zxbcdt = saved.pop();

        const TensorRef d_y = ctx.scratch->alloc(dtype, {B, T, D_});
        {
            // The gated norm is cheap to compute again and as wide as x: it is not kept, and gone before the rest is made.
            ArenaScope norm(*ctx.scratch);
            const TensorRef gated = ctx.scratch->alloc(dtype, {B, T, D_});
            gated_norm_forward(ctx, norm_args(zxbcdt, y_ssd), gated);
            linear_backward_input(ctx, {{}, out_proj_.value, {}, tile.t0}, dy, d_y, false);
            linear_backward_weight(ctx, {gated, {}, {}, tile.t0}, dy, out_proj_.grad, {});
        }
        const TensorRef d_zxbcdt = ctx.scratch->alloc(dtype, {B, T, D_ + C_ + H_});
        gated_norm_backward(ctx, norm_args(zxbcdt, y_ssd), d_y, d_y, d_zxbcdt.slice(2, 0, D_), norm_.grad);

        const TensorRef d_xbc = ctx.scratch->alloc(dtype, {B, T, C_});
        SsdGrads g;
        g.d_y = d_y;
        g.d_x = d_xbc.slice(2, 0, D_);
        g.d_dt_raw = d_zxbcdt.slice(2, D_ + C_, H_);
        g.d_B = d_xbc.slice(2, D_, G_ * N_);
        g.d_C = d_xbc.slice(2, D_ + G_ * N_, G_ * N_);
        g.d_A_log = A_log_.grad;
        g.d_D = skip_.grad;
        g.d_dt_bias = dt_bias_.grad;
        g.d_h = d_state[1];
        ssd_backward(ctx, ssd_args(tile, zxbcdt, xbc, in), chunk_states, g);
        conv1d_backward(ctx, conv_args(tile, zxbcdt, in),
                        {d_xbc, d_zxbcdt.slice(2, D_, C_), conv_weight_.grad, conv_bias_param_.grad, d_state[0]});
        linear_backward_input(ctx, {{}, in_proj_.value, {}, tile.t0}, d_zxbcdt, dx, false);
        linear_backward_weight(ctx, {x, {}, {}, tile.t0}, d_zxbcdt, in_proj_.grad, {});
    }

    void step(Ctx& ctx, const TensorRef& x, const TensorRef& y, State state, int64_t) override {
        StepStream alone;
        alone.rows = x;
        step_normed(ctx, alone, {y, {}}, state);
    }

    void step_normed(Ctx& ctx, const StepStream& stream, const StepEnd& end, State state) override {
        ArenaScope scope(*ctx.scratch);
        const int64_t B = stream.rows.size(0);
        // Of a step alone nobody knows what stands before it.
        const bool settled = bool{stream.weight};
        const DType dtype = stream.rows.dtype;
        const TensorRef zxbcdt = alloc_step_rows(ctx, dtype, B, D_ + C_ + H_);
        const TensorRef y_ssd = alloc_step_rows(ctx, dtype, B, D_);
        in_proj_step(ctx, {stream, in_proj_.value, conv_weight_.value, conv_bias_param_.value, state[0], D_, settled},
                     {state[0], zxbcdt});
        SsdArgs args = ssd_args(Tile{{B, 1}, 0, {}}, zxbcdt, zxbcdt.slice(2, D_, C_), state);
        args.h0 = {};
        ssd_step(ctx, args, state[1], y_ssd, true);
        out_proj_step(ctx, {norm_args(zxbcdt, y_ssd), out_proj_.value, true}, end);
    }

  private:
    Conv1dArgs conv_args(const Tile& tile, const TensorRef& zxbcdt, State in) const {
        return {zxbcdt.slice(2, D_, C_), conv_weight_.value, conv_bias_param_.value, tile.start, in[0], true};
    }
    SsdArgs ssd_args(const Tile& tile, const TensorRef& zxbcdt, const TensorRef& xbc, State in) const {
        return {xbc.slice(2, 0, D_), zxbcdt.slice(2, D_ + C_, H_), A_log_.value, xbc.slice(2, D_, G_ * N_),
                xbc.slice(2, D_ + G_ * N_, G_ * N_), skip_.value, dt_bias_.value, tile.start, in[1], G_, N_,
                discretization_};
    }
    GatedNormArgs norm_args(const TensorRef& zxbcdt, const TensorRef& y_ssd) const {
        return {y_ssd, zxbcdt.slice(2, 0, D_), norm_.value, G_, eps_};
    }

    int64_t M_, D_, N_, K_, P_, H_, G_, C_, n_layer_;  // C: channels of the convolution, D + 2 G N
    bool conv_bias_;
    float eps_;
    double dt_min_, dt_max_, dt_floor_;
    Discretization discretization_;
    Param in_proj_, conv_weight_, conv_bias_param_, dt_bias_, A_log_, skip_, norm_, out_proj_;
};

}  // namespace

std::unique_ptr<Layer> make_mamba2(const ModelConfig& config) { return std::make_unique<Mamba2>(config); }

}  // namespace adder
