#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/grad_norm/grad_norm.h"

namespace adder {

Optimizer::Optimizer(const ParamStore& params, const OptimizerOptions& options) : options_(options) {
    const int64_t total = params.sizes().elements;
    moments_ = Tensor(params.masters().dtype, {2 * total}, params.device(), "the moments of the optimizer");
    for (const auto& e : params.entries()) {
        const int64_t n = e.spec.shape.numel();
        AdamWTensor t;
        t.param = e.param->master.reshape({n});
        t.grad = e.param->grad.reshape({n});
        t.m = moments_.ref().slice(0, e.offset, n);
        t.v = moments_.ref().slice(0, total + e.offset, n);
        t.decay = e.spec.kind.decay;
        tensors_.push_back(t);
        grads_.push_back(t.grad);
        values_.push_back(t.param);
        names_.push_back(e.spec.name);
    }
}

Optimizer::Result Optimizer::step(Ctx& ctx, double lr, double weight) {
    Result r;
    const GradNorm norm = grad_norm(ctx, grads_);
    r.grad_norm = std::sqrt(norm.sum_of_squares) / weight;
    if (norm.first_bad >= 0) {
        r.bad_gradient = names_[static_cast<size_t>(norm.first_bad)];
        return r;
    }
    double scale = 1 / weight;
    if (options_.clip > 0 && r.grad_norm > options_.clip) scale *= options_.clip / r.grad_norm;
    AdamWArgs args;
    args.lr = lr;
    args.beta1 = options_.beta1;
    args.beta2 = options_.beta2;
    args.eps = options_.eps;
    args.weight_decay = options_.weight_decay;
    args.step = ++updates;
    args.grad_scale = scale;
    adamw(ctx, tensors_, args);
    if (const int64_t bad = grad_norm(ctx, values_).first_bad; bad >= 0) r.bad_parameter = names_[static_cast<size_t>(bad)];
    return r;
}

}  // namespace adder
