// LanguageModel: token embedding, backbone and the (tied) head, with the parameter names of state-spaces/mamba. With
// classes in its configuration it is a classifier: the head is one of members, see member_head.h.
#pragma once
#include <memory>

#include "core/ctx.h"
#include "model/config.h"
#include "model/layer.h"
#include "model/member_head.h"

namespace adder {

class LanguageModel {
  public:
    // `config` is resolved here; throws Error as ModelConfig::resolve does.
    explicit LanguageModel(ModelConfig config);

    const ModelConfig& config() const { return config_; }
    int64_t vocab() const { return config_.padded_vocab(); }
    // What targets are below: tokens, or a classifier's classes.
    int64_t targets() const { return head_of_members_ ? head_of_members_->classes() : vocab(); }
    // Null for a language model.
    const MemberHead* member_head() const { return head_of_members_.get(); }
    // Of the backbone, then of the member head.
    StateSpec state_spec(int64_t B) const;
    State backbone_part(State state) const { return state.first(backbone_slots_); }
    State head_part(State state) const { return state.subspan(backbone_slots_); }
    // A classifier of which the head alone is trained. To be said before the parameters are visited.
    void freeze_backbone();
    bool frozen() const { return frozen_; }
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
    const Param& head() const { return config_.tie_embeddings ? embedding_ : head_; }

    ModelConfig config_;
    std::unique_ptr<Layer> backbone_;
    std::unique_ptr<MemberHead> head_of_members_;
    size_t backbone_slots_ = 0;
    bool frozen_ = false;
    Param embedding_, head_;
};

}  // namespace adder
