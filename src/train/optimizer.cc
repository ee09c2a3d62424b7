#include "train/optimizer.h"

#include <cmath>

namespace adder {

Optimizer::Optimizer(const ParamStore& params, const OptimizerOptions& options) : options_(options) {
    args_.beta1 = options.beta1;
    args_.beta2 = options.beta2;
    args_.eps = options.eps;
    args_.weight_decay = options.weight_decay;
    const int64_t total = params.sizes().elements;
    moments_ = Tensor(params.masters().dtype, {2 * total}, params.device(), "the moments of the optimizer");
    for (const auto& e : params.entries()) {
        if (e.spec.group == ParamGroup::frozen) continue;
        const int64_t n = e.spec.shape.numel();
        AdamWTensor t;
        t.param = e.param->master.reshape({n});
        t.grad = e.param->grad.reshape({n});
        t.m = moments_.ref().slice(0, e.offset, n);
        t.v = moments_.ref().slice(0, total + e.offset, n);
        t.decay = e.spec.kind.decay;
        if (e.spec.group == ParamGroup::head) t.rate = options.head_rate;
        if (e.param->value.dtype == DType::bf16) t.copy = e.param->value.reshape({n});
        tensors_.push_back(t);
        grads_.push_back(t.grad);
        values_.push_back(t.param);
        names_.push_back(e.spec.name);
    }
    if (params.device() == Device::cpu) return;
    const auto room = [](size_t bytes) {
        return Tensor(DType::u8, {static_cast<int64_t>(bytes)}, Device::cuda, "the numbers of the update");
    };
    table_ = AdamWTable(tensors_);
    grad_table_ = GradNormTable(grads_);
    state_ = room(sizeof(UpdateState));
    record_ = room(sizeof(UpdateRecord));
    norm_ = room(sizeof(GradNorm));
}

UpdateResult Optimizer::step(Ctx& ctx, double lr, double weight) {
    UpdateResult r;
    const GradNorm norm = grad_norm(ctx, grads_);
    r.grad_norm = std::sqrt(norm.sum_of_squares) / weight;
    r.bad_gradient = name_of_tensor(norm.first_bad);
    if (norm.first_bad >= 0) return r;
    double scale = 1 / weight;
    if (options_.clip > 0 && r.grad_norm > options_.clip) scale *= options_.clip / r.grad_norm;
    AdamWArgs args = args_;
    args.lr = lr;
    args.step = updates_ + 1;
    args.grad_scale = scale;
    adamw(ctx, tensors_, args);
    r.bad_parameter = name_of_tensor(grad_norm(ctx, values_).first_bad);
    if (ctx.dry_run) return r;
    updates_ += 1;
    r.updated = true;
    return r;
}

void Optimizer::give(Ctx& ctx, const TensorRef& sums) {
    grad_norm(ctx, grad_table_, norm_);
    begin_update(ctx, args_, options_.clip, {sums, norm_, state_, record_});
    adamw(ctx, table_, args_, state_, record_);
}

UpdateResult Optimizer::result_of(const UpdateRecord& r) const {
    return {r.grad_norm, r.updated != 0, name_of_tensor(r.first_bad_gradient), name_of_tensor(r.first_bad_parameter)};
}

int64_t Optimizer::updates() const {
    if (!state_.ref()) return updates_;
    UpdateState state;
    copy_bytes(&state, state_.ref().data, sizeof state);
    return state.updates;
}

void Optimizer::set_updates(int64_t n) {
    updates_ = n;
    if (!state_.ref()) return;
    UpdateState state;
    state.updates = n;
    copy_bytes(state_.ref().data, &state, sizeof state);
}

}  // namespace adder
