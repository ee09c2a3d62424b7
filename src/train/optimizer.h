// AdamW over a model's parameters, with the clip and the division by the token weight in one factor.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/ctx.h"
#include "kernels/adamw/adamw.h"
#include "model/params.h"

namespace adder {

struct OptimizerOptions {
    double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
    double clip = 1.0;  // of the global gradient norm; 0 = off
};

class Optimizer {
  public:
    Optimizer(const ParamStore& params, const OptimizerOptions& options);

    struct Result {
        double grad_norm = 0;        // of the mean gradient, before the clip
        std::string bad_gradient;    // name of the first tensor with a non-finite gradient: nothing was updated
        std::string bad_parameter;   // name of the first tensor that the update made non-finite
    };
    // One update by gradients that are sums over `weight` counted tokens.
    Result step(Ctx& ctx, double lr, double weight);

    int64_t updates = 0;  // so far: the exponent of the bias correction
    const std::vector<AdamWTensor>& tensors() const { return tensors_; }
    const TensorRef& moments() const { return moments_.ref(); }  // first, then second, each laid out as the masters
    int64_t bytes() const { return moments_.ref().bytes(); }

  private:
    OptimizerOptions options_;
    std::vector<std::string> names_;
    std::vector<AdamWTensor> tensors_;
    std::vector<TensorRef> grads_, values_;
    Tensor moments_;
};

}  // namespace adder
