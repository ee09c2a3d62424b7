// AdamW over a list of tensors, in one call.
//
//   g' = grad_scale g     m = beta1 m + (1-beta1) g'     v = beta2 v + (1-beta2) g'^2
//   p  = p - lr weight_decay p - lr (m / (1-beta1^step)) / (sqrt(v / (1-beta2^step)) + eps)
//
// Source: Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2; the order of PyTorch's AdamW.
//
// On a GPU the step is decided where its numbers are. In the order of the stream:
//   copy the step's learning rate into UpdateState::lr
//   grad_norm(ctx, grads, norm)                       kernels/grad_norm
//   begin_update(ctx, args, clip, {sums, norm, state, record})
//   adamw(ctx, table, args, state, record)
//   copy the record to the host, which reads it when it likes
#pragma once
#include <cstdint>
#include <span>

#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

// Contiguous tensors of one shape, all of type S (f32 or f64).
struct AdamWTensor {
    TensorRef param, grad, m, v;
    bool decay = true;  // weight decay applies
    TensorRef copy{};   // bf16 (GPU only): receives the new parameter, rounded; absent = none
    double rate = 1;    // times the learning rate
};

struct AdamWArgs {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
    int64_t step = 1;        // 1 for the first update
    double grad_scale = 1;   // 1/W times the clip factor
};

void adamw(Ctx& ctx, std::span<const AdamWTensor> tensors, const AdamWArgs& args);

// ---- on a GPU ----

// A list of tensors of the GPU, with its cut into pieces of equal work: made once, used in every step.
class AdamWTable {
  public:
    AdamWTable() = default;
    explicit AdamWTable(std::span<const AdamWTensor> tensors);

    const void* data() const { return table_.ref().data; }  // see adamw_cuda.h
    int64_t tensors() const { return tensors_; }
    int64_t pieces() const { return pieces_; }
    int64_t elements() const { return elements_; }
    int64_t bytes_moved() const { return bytes_moved_; }  // by one update

  private:
    Tensor table_;
    int64_t tensors_ = 0, pieces_ = 0, elements_ = 0, bytes_moved_ = 0;
};

// What an optimizer keeps on the GPU. Zeroed memory is the start of a run.
struct UpdateState {
    double lr = 0;        // of this step: written by the host or by whoever knows the schedule
    int64_t updates = 0;  // so far: the exponent of the bias correction
    // From begin_update to adamw.
    float grad_scale = 0;  // 1/W times the clip factor
    float rate = 0;        // lr / (1 - beta1^updates)
    float pull = 0;        // lr weight_decay
    float unbias2 = 0;     // 1 / (1 - beta2^updates)
    int32_t skip = 1;      // adamw does nothing
    int32_t reserved = 0;
};

// What a step leaves for the host.
struct UpdateRecord {
    double loss = 0, weight = 0;       // sums over the step's tokens
    double grad_norm = 0;              // of the mean gradient, before the clip
    int64_t first_bad_gradient = -1;   // index of the first tensor with a non-finite gradient: nothing was updated
    int64_t first_bad_parameter = -1;  // index of the first tensor that the update made non-finite
    int64_t updated = 0;               // 0: no counted token, or a non-finite gradient
    int64_t updates = 0;               // so far, with this one
};

// Places on the GPU.
struct UpdateTensors {
    TensorRef sums;    // f64 (2): loss and W, the token weight, of the step
    TensorRef norm;    // one GradNorm, as u8
    TensorRef state;   // one UpdateState, as u8
    TensorRef record;  // one UpdateRecord, as u8
};

// Decides whether this step updates and by what factor: divides by W, clips the global norm at `clip` (0 = off), counts
// the update, writes the record. No update where W is 0 or a gradient is not finite. args.lr, step and grad_scale are
// not read.
void begin_update(Ctx& ctx, const AdamWArgs& args, double clip, const UpdateTensors& at);

// The update that `state` holds, over all tensors in one launch; names the first tensor that it made non-finite in the
// record. args.lr, step and grad_scale are not read.
void adamw(Ctx& ctx, const AdamWTable& table, const AdamWArgs& args, const TensorRef& state, const TensorRef& record);

}  // namespace adder
