#include "model/model.h"

#include <cmath>

#include "kernels/embedding/embedding.h"
#include "kernels/gemm/gemm.h"
#include "model/registry.h"

namespace adder {

LanguageModel::LanguageModel(ModelConfig config) : config_(std::move(config)) {
    config_.resolve();
    backbone_ = find_backbone(config_.backbone).make(config_);
}

void LanguageModel::visit(ParamVisitor& v) {
    const Shape shape{vocab(), config_.d_model};
    v.nested("backbone.", [&] {
        v("embedding.weight", embedding_, shape, {Init::Kind::normal, 0.02}, kMatrix);
        backbone_->visit(v);
    });
    const double bound = 1 / std::sqrt(static_cast<double>(config_.d_model));
    if (!config_.tie_embeddings) v("lm_head.weight", head_, shape, {Init::Kind::uniform, -bound, bound}, kMatrix);
}

void LanguageModel::embed(Ctx& ctx, const TensorRef& ids, const TensorRef& x) const {
    embedding_forward(ctx, ids, embedding_.value, x);
}

void LanguageModel::embed_backward(Ctx& ctx, const TensorRef& ids, const TensorRef& d_x, int64_t t0) const {
    embedding_backward(ctx, ids, d_x, t0, embedding_.grad);
}

void LanguageModel::logits(Ctx& ctx, const TensorRef& y, int64_t t0, const TensorRef& out) const {
    linear_forward(ctx, {y, head().value, {}, t0}, out);
}

void LanguageModel::logits_backward(Ctx& ctx, const TensorRef& y, const TensorRef& d_logits, int64_t t0,
                                    const TensorRef& d_y) const {
    linear_backward_input(ctx, {{}, head().value, {}, t0}, d_logits, d_y, false);
    linear_backward_weight(ctx, {y, {}, {}, t0}, d_logits, head().grad, {});
}

void LanguageModel::logits_step(Ctx& ctx, const TensorRef& y, const TensorRef& out) const {
    linear_step(ctx, {y, head().value, {}, 0}, out);
}

}  // namespace adder
