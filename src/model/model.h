// LanguageModel: token embedding, backbone and the (tied) head, with the parameter names of state-spaces/mamba.
#pragma once
#include <memory>

#include "core/ctx.h"
#include "model/config.h"
#include "model/layer.h"

namespace adder {

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
    // y (B,T,M) -> logits (B,T,V), V = vocab().
    void logits(Ctx& ctx, const TensorRef& y, int64_t t0, const TensorRef& logits) const;
    // d_y = gradient of y; adds to the head's gradient.
    void logits_backward(Ctx& ctx, const TensorRef& y, const TensorRef& d_logits, int64_t t0, const TensorRef& d_y) const;
    // As logits for T = 1, with bits of a row that depend on nothing outside the row.
    void logits_step(Ctx& ctx, const TensorRef& y, const TensorRef& logits) const;

  private:
    const Param& head() const { return config_.tie_embeddings ? embedding_ : head_; }

    ModelConfig config_;
    std::unique_ptr<Layer> backbone_;
    Param embedding_, head_;
};

}  // namespace adder
