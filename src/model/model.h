// LanguageModel: token embedding, backbone and the (tied) head, with the parameter names of state-spaces/mamba.
#pragma once
#include <memory>

#include "core/ctx.h"
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
    TensorRef d_y;   // (B,T,M) storage, =; the head's gradient is added to. Absent = no gradient is wanted
    bool add_sums = false;
};

class LanguageModel {
  public:
    // `config` is resolved here; throws Error as ModelConfig::resolve does.
    explicit LanguageModel(ModelConfig config);

    const ModelConfig& config() const { return config_; }
    int64_t vocab() const { return config_.padded_vocab(); }
    Layer& backbone() const { return *backbone_; }
    void visit(ParamVisitor& visitor);

    // ids (B,T) u16 -> x (B,T,M).
    void embed(Ctx& ctx, const TensorRef& ids, const TensorRef& x) const;
    // Adds to the embedding's gradient. d_x (B,T,M).
    void embed_backward(Ctx& ctx, const TensorRef& ids, const TensorRef& d_x, int64_t t0) const;
    // Head and cross-entropy of y (B,T,M), in slices of time: logits never exist for all of a long tile.
    void loss(Ctx& ctx, const TensorRef& y, const LossArgs& args, const LossOut& out) const;
    // y (B,1,M) -> logits (B,1,V), V = vocab(), in the accumulation type; the bits of a row depend on nothing outside it.
    void logits_step(Ctx& ctx, const TensorRef& y, const TensorRef& logits) const;

  private:
    int64_t slice_length(int64_t B) const;
    const Param& head() const { return config_.tie_embeddings ? embedding_ : head_; }

    ModelConfig config_;
    std::unique_ptr<Layer> backbone_;
    Param embedding_, head_;
};

}  // namespace adder
