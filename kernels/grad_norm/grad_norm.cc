#include "kernels/grad_norm/grad_norm.h"

#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/grad_norm/grad_norm_cpu.h"

namespace adder {

GradNorm grad_norm(Ctx& ctx, std::span<const TensorRef> tensors) {
    int64_t n = 0, bytes = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
        const TensorRef& t = tensors[i];
        const bool floating = t.dtype == DType::f32 || t.dtype == DType::f64;
        if (t.dtype == DType::bf16) fail("[grad_norm] tensors[{}]: bf16 storage needs --device cuda", i);
        if (!floating || !t.contiguous())
            fail("[grad_norm] tensors[{}]: expected a contiguous f32 or f64 tensor, got {}{}", i, describe(t),
                 t.contiguous() ? "" : ", not contiguous");
        n += t.numel();
        bytes += t.bytes();
    }
    // The result has a place in the scratch arena and not on the stack, because the call may be repeated
    // later.
    ArenaScope scope(*ctx.scratch);
    const auto slots = static_cast<int64_t>(sizeof(GradNorm));
    auto* result = static_cast<GradNorm*>(ctx.scratch->alloc(DType::u8, {slots}).data);
    const OpCall call{"grad_norm", {n, static_cast<int64_t>(tensors.size())}, {bytes, n * 2}};
    run_op(ctx, call, cpu::grad_norm_scratch_bytes(n),
           [=](Ctx& c, void* scratch) { *result = cpu::grad_norm(*c.pool, tensors, scratch); });
    return ctx.dry_run ? GradNorm{} : *result;
}

}  // namespace adder
