#include "model/model.h"

#include <algorithm>
#include <cmath>

#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gemm/gemm.h"
#include "model/registry.h"

namespace adder {

LanguageModel::LanguageModel(ModelConfig config) : config_(std::move(config)) {
    config_.resolve();
    backbone_ = find_backbone(config_.backbone).make(config_);
    backbone_slots_ = backbone_->state_spec(1).size();
    if (config_.is_classifier()) head_of_members_ = std::make_unique<MemberHead>(config_);
}

void LanguageModel::freeze_backbone() {
    CHECK(head_of_members_);
    frozen_ = true;
}

StateSpec LanguageModel::state_spec(int64_t B) const {
    StateSpec all = backbone_->state_spec(B);
    if (head_of_members_)
        for (StateSlot& slot : head_of_members_->state_spec(B)) all.push_back(std::move(slot));
    return all;
}

void LanguageModel::visit(ParamVisitor& v) {
    const Shape shape{vocab(), config_.d_model};
    v.grouped(frozen_ ? ParamGroup::frozen : ParamGroup::model, [&] {
        v.nested("backbone.", [&] {
            v("embedding.weight", embedding_, shape, {Init::Kind::normal, 0.02}, kMatrix);
            backbone_->visit(v);
        });
    });
    if (head_of_members_) return v.grouped(ParamGroup::head, [&] { head_of_members_->visit(v); });
    const double bound = 1 / std::sqrt(static_cast<double>(config_.d_model));
    if (!config_.tie_embeddings) v("lm_head.weight", head_, shape, {Init::Kind::uniform, -bound, bound}, kMatrix);
}

void LanguageModel::embed(Ctx& ctx, const TensorRef& ids, const TensorRef& x) const {
    embedding_forward(ctx, ids, embedding_.value, x);
}

void LanguageModel::embed_backward(Ctx& ctx, const TensorRef& ids, const TensorRef& d_x, int64_t t0) const {
    embedding_backward(ctx, ids, d_x, t0, embedding_.grad);
}

void LanguageModel::loss(Ctx& ctx, const TensorRef& y, const LossArgs& args, const LossOut& out) const {
    CHECK(!head_of_members_);
    const int64_t B = y.size(0), T = y.size(1), S = std::min(logit_slice(B, vocab()), T);
    const DType accum = accum_of(y.dtype);
    ArenaScope scope(*ctx.scratch);
    const Shape shape{B, S, vocab()};
    const TensorRef logits_room = ctx.scratch->alloc(accum, shape);
    TensorRef d_logits_room;
    if (out.d_y) d_logits_room = accum == y.dtype ? logits_room : ctx.scratch->alloc(y.dtype, shape);
    for (int64_t t = 0; t < T; t += S) {
        const int64_t n = std::min(S, T - t), t0 = args.t0 + t;
        const auto part = [&](const TensorRef& x) { return x ? x.slice(1, t, n) : x; };
        // A shorter last slice is contiguous too.
        const auto room = [&](const TensorRef& x) {
            return x ? TensorRef(x.data, x.dtype, {B, n, vocab()}, x.device) : x;
        };
        const TensorRef logits = room(logits_room), d_logits = room(d_logits_room);
        linear_forward(ctx, {part(y), head().value, {}, t0}, logits);
        cross_entropy(ctx, {logits, part(args.targets), part(args.weights), -1, t0},
                      {out.sums, part(out.nats), d_logits, out.add_sums || t > 0});
        if (!out.d_y) continue;
        linear_backward_input(ctx, {{}, head().value, {}, t0}, d_logits, part(out.d_y), false);
        linear_backward_weight(ctx, {part(y), {}, {}, t0}, d_logits, head().grad, {});
    }
}

void LanguageModel::logits_step(Ctx& ctx, const TensorRef& y, const TensorRef& out) const {
    linear_step(ctx, {y, head().value, {}, 0}, out);
}

}  // namespace adder
