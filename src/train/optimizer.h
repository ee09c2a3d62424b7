// AdamW over a model's parameters, with the clip and the division by the token weight in one factor.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/ctx.h"
#include "kernels/adamw/adamw.h"
#include "kernels/grad_norm/grad_norm.h"
#include "model/params.h"

namespace adder {

struct OptimizerOptions {
    double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
    double clip = 1.0;  // of the global gradient norm; 0 = off
    double head_rate = 1;  // learning rate of the group `head`, as a part of that of the others
};

// What one update did.
struct UpdateResult {
    double grad_norm = 0;        // of the mean gradient, before the clip
    bool updated = false;        // false: no counted token, or a non-finite gradient
    std::string bad_gradient;    // name of the first tensor with a non-finite gradient: nothing was updated
    std::string bad_parameter;   // name of the first tensor that the update made non-finite
};

class Optimizer {
  public:
    Optimizer(const ParamStore& params, const OptimizerOptions& options);

    // One update by gradients that are sums over `weight` counted tokens; on the CPU.
    UpdateResult step(Ctx& ctx, double lr, double weight);
    // The same on a GPU, without waiting: sums (2) f64 holds loss and W. All addresses are fixed, so that it can be
    // recorded; the learning rate is read from `state`, what was done is left in `record`.
    void give(Ctx& ctx, const TensorRef& sums);
    const TensorRef& state() const { return state_.ref(); }    // one UpdateState
    const TensorRef& record() const { return record_.ref(); }  // one UpdateRecord
    UpdateResult result_of(const UpdateRecord& record) const;

    // So far: the exponent of the bias correction. On a GPU both wait for it.
    int64_t updates() const;
    void set_updates(int64_t n);
    const std::vector<AdamWTensor>& tensors() const { return tensors_; }
    const TensorRef& moments() const { return moments_.ref(); }  // first, then second, each laid out as the masters

  private:
    std::string name_of_tensor(int64_t i) const { return i < 0 ? "" : names_[static_cast<size_t>(i)]; }

    OptimizerOptions options_;
    AdamWArgs args_;
    std::vector<std::string> names_;
    std::vector<AdamWTensor> tensors_;
    std::vector<TensorRef> grads_, values_;
    Tensor moments_;
    int64_t updates_ = 0;  // on the CPU
    AdamWTable table_;     // from here on: on a GPU
    GradNormTable grad_table_;
    Tensor state_, record_, norm_;
};

}  // namespace adder
