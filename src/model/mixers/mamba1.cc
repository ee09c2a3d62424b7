#include "model/mixers/mamba1.h"

#include <cmath>

#include "kernels/conv1d/conv1d.h"
#include "kernels/gemm/gemm.h"
#include "kernels/projection_step/projection_step.h"
#include "kernels/scan/scan.h"

namespace adder {

namespace {

class Mamba1 final : public Layer {
  public:
    explicit Mamba1(const ModelConfig& c)
        : M_(c.d_model), D_(c.d_inner()), N_(c.d_state), K_(c.d_conv), R_(c.dt_rank), n_layer_(c.n_layer),
          conv_bias_(c.conv_bias), dt_min_(c.dt_min), dt_max_(c.dt_max), dt_floor_(c.dt_init_floor),
          discretization_(c.discretization) {}

    void visit(ParamVisitor& v) override {
        using Kind = Init::Kind;
        auto fan_in = [](int64_t n, double scale = 1) {
            const double bound = scale / std::sqrt(static_cast<double>(n));
            return Init{Kind::uniform, -bound, bound};
        };
        v("in_proj.weight", in_proj_, {2 * D_, M_}, fan_in(M_), kMatrix);
        v("conv1d.weight", conv_weight_, {D_, K_}, fan_in(K_), kTaps, {D_, 1, K_});
        if (conv_bias_) v("conv1d.bias", conv_bias_param_, {D_}, fan_in(K_), kVector);
        v("x_proj.weight", x_proj_, {R_ + 2 * N_, D_}, fan_in(D_), kMatrix);
        v("dt_proj.weight", dt_proj_, {D_, R_}, fan_in(R_), kMatrix);
        v("dt_proj.bias", dt_bias_, {D_}, {Kind::inverse_softplus_log_uniform, dt_min_, dt_max_, dt_floor_}, kVector);
        v("A_log", A_log_, {D_, N_}, {Kind::log_arange}, kVector);
        v("D", skip_, {D_}, {Kind::constant, 1}, kVector);
        // Scaled by the number of residual adds, as GPT-2 does.
        v("out_proj.weight", out_proj_, {M_, D_}, fan_in(D_, 1 / std::sqrt(static_cast<double>(n_layer_))), kMatrix);
    }

    StateSpec state_spec(int64_t B) const override { return {{"conv", {B, K_ - 1, D_}}, {"ssm", {B, D_, N_}}}; }

    void forward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& y, State in, State out,
                 Saved* saved) override {
        ArenaScope scope(*ctx.scratch);
        const auto [B, T] = tile.shape;
        const DType dtype = x.dtype;
        const TensorRef xz = keep(ctx, saved, dtype, {B, T, 2 * D_});
        linear_forward(ctx, {x, in_proj_.value, {}, tile.t0}, xz);
        const TensorRef u = keep(ctx, saved, dtype, {B, T, D_});
        conv1d_forward(ctx, conv_args(tile, xz, in), u, out[0]);
        const TensorRef x_dbl = keep(ctx, saved, dtype, {B, T, R_ + 2 * N_});
        linear_forward(ctx, {u, x_proj_.value, {}, tile.t0}, x_dbl);
        TensorRef y_scan, chunk_states;
        if (y) y_scan = keep(ctx, saved, dtype, {B, T, D_});
        if (saved) chunk_states = saved->push(accum_of(dtype), scan_chunk_states_shape(B, T, D_, N_));
        const TensorRef dt_raw = ctx.scratch->alloc(dtype, {B, T, D_});
        linear_forward(ctx, {x_dbl.slice(2, 0, R_), dt_proj_.value, {}, tile.t0}, dt_raw);
        scan_forward(ctx, scan_args(tile, xz, u, x_dbl, dt_raw, in), {y_scan, out[1], chunk_states});
        if (y) linear_forward(ctx, {y_scan, out_proj_.value, {}, tile.t0}, y);
    }

    void backward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& dy, const TensorRef& dx, State in,
                  State d_state, Saved& saved) override {
        ArenaScope scope(*ctx.scratch);
        const auto [B, T] = tile.shape;
        const DType dtype = x.dtype;
        const TensorRef chunk_states = saved.pop(), y_scan = saved.pop(), x_dbl = saved.pop(), u = saved.pop(),
                        xz = saved.pop();

        const TensorRef d_y = ctx.scratch->alloc(dtype, {B, T, D_});
        linear_backward_input(ctx, {{}, out_proj_.value, {}, tile.t0}, dy, d_y, false);
        linear_backward_weight(ctx, {y_scan, {}, {}, tile.t0}, dy, out_proj_.grad, {});

        // dt before its bias is cheap to compute again and as wide as x: it is not kept.
        const TensorRef dt_raw = ctx.scratch->alloc(dtype, {B, T, D_});
        linear_forward(ctx, {x_dbl.slice(2, 0, R_), dt_proj_.value, {}, tile.t0}, dt_raw);
        const TensorRef d_u = ctx.scratch->alloc(dtype, {B, T, D_});
        const TensorRef d_dt = ctx.scratch->alloc(dtype, {B, T, D_});
        const TensorRef d_xz = ctx.scratch->alloc(dtype, {B, T, 2 * D_});
        const TensorRef d_dbl = ctx.scratch->alloc(dtype, {B, T, R_ + 2 * N_});
        ScanGrads g;
        g.d_y = d_y;
        g.d_u = d_u;
        g.d_dt_raw = d_dt;
        g.d_z = d_xz.slice(2, D_, D_);
        g.d_B = d_dbl.slice(2, R_, N_);
        g.d_C = d_dbl.slice(2, R_ + N_, N_);
        g.d_A_log = A_log_.grad;
        g.d_D = skip_.grad;
        g.d_dt_bias = dt_bias_.grad;
        g.d_h = d_state[1];
        scan_backward(ctx, scan_args(tile, xz, u, x_dbl, dt_raw, in), chunk_states, g);

        const TensorRef d_low_rank = d_dbl.slice(2, 0, R_);
        linear_backward_input(ctx, {{}, dt_proj_.value, {}, tile.t0}, d_dt, d_low_rank, false);
        linear_backward_weight(ctx, {x_dbl.slice(2, 0, R_), {}, {}, tile.t0}, d_dt, dt_proj_.grad, {});
        linear_backward_input(ctx, {{}, x_proj_.value, {}, tile.t0}, d_dbl, d_u, true);
        linear_backward_weight(ctx, {u, {}, {}, tile.t0}, d_dbl, x_proj_.grad, {});
        conv1d_backward(ctx, conv_args(tile, xz, in),
                        {d_u, d_xz.slice(2, 0, D_), conv_weight_.grad, conv_bias_param_.grad, d_state[0]});
        linear_backward_input(ctx, {{}, in_proj_.value, {}, tile.t0}, d_xz, dx, false);
        linear_backward_weight(ctx, {x, {}, {}, tile.t0}, d_xz, in_proj_.grad, {});
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
        const TensorRef uz = alloc_step_rows(ctx, dtype, B, 2 * D_);
        const TensorRef x_dbl = alloc_step_rows(ctx, dtype, B, R_ + 2 * N_);
        const TensorRef y_scan = alloc_step_rows(ctx, dtype, B, D_);
        in_proj_step(ctx, {stream, in_proj_.value, conv_weight_.value, conv_bias_param_.value, state[0], 0, settled},
                     {state[0], uz});
        const TensorRef u = uz.slice(2, 0, D_);
        linear_step(ctx, {u, x_proj_.value, {}, 0}, x_dbl);
        const ScanArgs args = scan_args(Tile{{B, 1}, 0, {}}, uz, u, x_dbl, {}, state);
        scan_step_low_rank(ctx, args, {x_dbl.slice(2, 0, R_), dt_proj_.value, settled}, state[1], y_scan);
        out_proj_step(ctx, {{y_scan, {}, {}}, out_proj_.value, true}, end);
    }

  private:
    Conv1dArgs conv_args(const Tile& tile, const TensorRef& xz, State in) const {
        return {xz.slice(2, 0, D_), conv_weight_.value, conv_bias_param_.value, tile.start, in[0], true};
    }
    ScanArgs scan_args(const Tile& tile, const TensorRef& xz, const TensorRef& u, const TensorRef& x_dbl,
                       const TensorRef& dt_raw, State in) const {
        return {u, dt_raw, A_log_.value, x_dbl.slice(2, R_, N_), x_dbl.slice(2, R_ + N_, N_), skip_.value,
                dt_bias_.value, xz.slice(2, D_, D_), tile.start, in[1], discretization_};
    }

    int64_t M_, D_, N_, K_, R_, n_layer_;
    bool conv_bias_;
    double dt_min_, dt_max_, dt_floor_;
    Discretization discretization_;
    Param in_proj_, conv_weight_, conv_bias_param_, x_proj_, dt_proj_, dt_bias_, A_log_, skip_, out_proj_;
};

}  // namespace

std::unique_ptr<Layer> make_mamba1(const ModelConfig& config) { return std::make_unique<Mamba1>(config); }

}  // namespace adder
