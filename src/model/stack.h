// Stack: blocks add -> norm -> mixer on a residual stream in the accumulation type, then a last norm. The flat backbone is
// one; a U-Net is made of several.
// Source: the block order of state-spaces/mamba (Block, MixerModel).
#pragma once
#include <memory>
#include <vector>

#include "kernels/norm/norm.h"
#include "model/config.h"
#include "model/layer.h"

namespace adder {

class Stack final : public Layer {
  public:
    // Mixer and widths are those of `config`; its n_layer, the residual adds that initial weights are scaled for, may be
    // more than the blocks of this stack.
    Stack(const ModelConfig& config, int64_t n_blocks);

    void visit(ParamVisitor& visitor) override;
    StateSpec state_spec(int64_t B) const override;
    int64_t shown_blocks() const override { return static_cast<int64_t>(blocks_.size()); }
    // x (B,T,M), y (B,T,M): after the last norm.
    void forward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& y, State in, State out,
                 Saved* saved) override;
    void backward(Ctx& ctx, const Tile& tile, const TensorRef& x, const TensorRef& dy, const TensorRef& dx, State in,
                  State d_state, Saved& saved) override;
    void step(Ctx& ctx, const TensorRef& x, const TensorRef& y, State state, int64_t phase) override;

    // A piece of a longer stream: `residual` (B,T,M) in the accumulation type is what stands before x; absent = zero.
    struct Stream {
        TensorRef x, residual;
    };
    // As forward. `sum` (B,T,M): room for the stream behind the last block, used from the first block on, which may be
    // from.residual; absent = in scratch. Returns the stream behind the last block; with `saved` that lies there. y may be
    // absent, and so is the result then.
    TensorRef forward_stream(Ctx& ctx, const Tile& tile, const Stream& from, const TensorRef& y, const TensorRef& sum,
                             State in, State out, Saved* saved);
    // As backward, where d_stream (B,T,M) in the accumulation type holds the gradient of the stream behind the last block on
    // entry and that of x and of the residual on return. d_x (B,T,M): receives the latter rounded where the storage type
    // is narrower; absent = not wanted.
    void backward_stream(Ctx& ctx, const Tile& tile, const TensorRef& dy, const TensorRef& d_stream, const TensorRef& d_x,
                         State in, State d_state, Saved& saved);
    // As step; sum (B,1,M): receives the stream behind the last block, and must not be from.residual.
    void step_stream(Ctx& ctx, const Stream& from, const TensorRef& y, const TensorRef& sum, State state);
    // The last norm of rows that step_stream has left in `sum` (B,n,M): y (B,n,M) in the storage type.
    void norm_rows(Ctx& ctx, const TensorRef& sum, const TensorRef& y) const;

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

// x (B,T,M): embedded tokens; y (B,T,M): after the last norm.
std::unique_ptr<Layer> make_stack(const ModelConfig& config);

}  // namespace adder
