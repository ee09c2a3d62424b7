#include "kernels/adamw/adamw.h"

#include "kernels/adamw/adamw_cpu.h"
#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"

namespace adder {

namespace {

// The name is put together only for the error: nothing is allocated in a step.
void check_tensor(const char* name, size_t index, const TensorRef& t, DType dtype, const Shape& shape) {
    if (t.dtype == dtype && t.shape == shape && t.contiguous()) return;
    fail("[adamw] {}[{}]: expected a contiguous {} {}, got {}{}", name, index, name_of(dtype),
         to_string(shape), describe(t), t && !t.contiguous() ? ", not contiguous" : "");
}

}  // namespace

void adamw(Ctx& ctx, std::span<const AdamWTensor> tensors, const AdamWArgs& args) {
    if (args.step < 1) fail("[adamw] step: expected 1 or more, got {}", args.step);
    if (tensors.empty()) return;
    const DType S = storage_of(ctx, "adamw", "param[0]", tensors[0].param);
    int64_t n = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
        const AdamWTensor& t = tensors[i];
        const Shape& shape = t.param.shape;
        check_tensor("param", i, t.param, S, shape);
        check_tensor("grad", i, t.grad, S, shape);
        check_tensor("m", i, t.m, S, shape);
        check_tensor("v", i, t.v, S, shape);
        n += shape.numel();
    }
    const OpCall call{"adamw", {n, static_cast<int64_t>(tensors.size())}, {n * size_of(S) * 7, n * 14}};
    run_op(ctx, call, 0, [=](Ctx& c, void*) {
        if (S == DType::f64) return cpu::adamw<double>(*c.pool, tensors, args);
        cpu::adamw<float>(*c.pool, tensors, args);
    });
}

}  // namespace adder
