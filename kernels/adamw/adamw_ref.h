// The reference of adamw.h.
#pragma once
#include "core/view.h"
#include "kernels/adamw/adamw.h"
#include "kernels/common/ref_math.h"

namespace adder::ref {

// One tensor, flat.
template <class S>
void adamw(View<S, 1> param, View<const S, 1> grad, View<S, 1> m, View<S, 1> v, bool decay,
           const AdamWArgs& args) {
    using std::sqrt;
    const double step = static_cast<double>(args.step);
    const S c1 = S(1 - std::pow(args.beta1, step)), c2 = S(1 - std::pow(args.beta2, step));
    const S rate = S(args.lr), pull = S(decay ? args.lr * args.weight_decay : 0);
    for (int64_t i = 0; i < param.shape[0]; ++i) {
        const S g = S(args.grad_scale) * grad(i);
        m(i) = S(args.beta1) * m(i) + S(1 - args.beta1) * g;
        v(i) = S(args.beta2) * v(i) + S(1 - args.beta2) * g * g;
        param(i) = param(i) - pull * param(i) - rate * (m(i) / c1) / (sqrt(v(i) / c2) + S(args.eps));
    }
}

}  // namespace adder::ref
