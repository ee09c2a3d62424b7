#include "kernels/grad_norm/grad_norm.h"

#include <cstring>

#include "core/ceil_div.h"
#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/grad_norm/grad_norm_cpu.h"
#include "kernels/grad_norm/grad_norm_cuda.h"

namespace adder {

namespace {

constexpr auto kResultBytes = static_cast<int64_t>(sizeof(GradNorm));

void check_tensor(Device device, size_t i, const TensorRef& t) {
    const bool cuda = device == Device::cuda;
    const bool floating = t.dtype == DType::f32 || (t.dtype == DType::f64 && !cuda);
    if (t.dtype == DType::bf16 && !cuda) fail("[grad_norm] tensors[{}]: bf16 storage needs --device cuda", i);
    if (!floating || !t.contiguous())
        fail("[grad_norm] tensors[{}]: expected a contiguous {} tensor, got {}{}", i, cuda ? "f32" : "f32 or f64",
             describe(t), t.contiguous() ? "" : ", not contiguous");
    if (t.device != device)
        fail("[grad_norm] tensors[{}]: expected on {}, is on {}", i, name_of(device), name_of(t.device));
}

GradNorm grad_norm_cuda(Ctx& ctx, const OpCall& call, std::span<const TensorRef> tensors) {
    ArenaScope scope(*ctx.scratch);
    auto* result = static_cast<GradNorm*>(ctx.scratch->alloc(DType::u8, {kResultBytes}).data);
    const cuda::GradNormLayout layout = cuda::grad_norm_layout(tensors);
    run_op(ctx, call, layout.bytes(), [=](Ctx& c, void* scratch) {
        const std::vector<std::byte> table = cuda::grad_norm_table(tensors);
        copy_async(scratch, table.data(), static_cast<int64_t>(table.size()), c.gpu->stream());
        cuda::grad_norm(c, scratch, layout, result);
    });
    GradNorm norm;
    if (!ctx.dry_run) copy_bytes(&norm, result, kResultBytes);
    return norm;
}

}  // namespace

namespace cuda {

GradNormLayout grad_norm_layout(std::span<const TensorRef> tensors) {
    GradNormLayout layout;
    layout.tensors = static_cast<int64_t>(tensors.size());
    for (const TensorRef& t : tensors) layout.pieces += ceil_div(t.numel(), kPieceElements);
    return layout;
}

std::vector<std::byte> grad_norm_table(std::span<const TensorRef> tensors) {
    const GradNormLayout layout = grad_norm_layout(tensors);
    std::vector<GradNormTensor> list;
    for (const TensorRef& t : tensors)
        list.push_back({static_cast<const float*>(t.data), t.numel(), reinterpret_cast<uintptr_t>(t.data) % 16 == 0, 0});
    const std::vector<Piece> pieces =
        pieces_of(layout.tensors, [&](int64_t i) { return tensors[static_cast<size_t>(i)].numel(); });
    std::vector<std::byte> table(static_cast<size_t>(layout.partials_at()));
    if (table.empty()) return table;
    std::memcpy(table.data(), list.data(), list.size() * sizeof(GradNormTensor));
    std::memcpy(table.data() + layout.pieces_at(), pieces.data(), pieces.size() * sizeof(Piece));
    return table;
}

}  // namespace cuda

GradNorm grad_norm(Ctx& ctx, std::span<const TensorRef> tensors) {
    int64_t n = 0, bytes = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
        check_tensor(ctx.device, i, tensors[i]);
        n += tensors[i].numel();
        bytes += tensors[i].bytes();
    }
    const OpCall call{"grad_norm", {n, static_cast<int64_t>(tensors.size())}, {bytes, n * 2}};
    if (ctx.device == Device::cuda) return grad_norm_cuda(ctx, call, tensors);
    // The result has a place in the scratch arena and not on the stack, because the call may be repeated
    // later.
    ArenaScope scope(*ctx.scratch);
    auto* result = static_cast<GradNorm*>(ctx.scratch->alloc(DType::u8, {kResultBytes}).data);
    run_op(ctx, call, cpu::grad_norm_scratch_bytes(n),
           [=](Ctx& c, void* scratch) { *result = cpu::grad_norm(*c.pool, tensors, scratch); });
    return ctx.dry_run ? GradNorm{} : *result;
}

GradNormTable::GradNormTable(std::span<const TensorRef> tensors) {
    for (size_t i = 0; i < tensors.size(); ++i) check_tensor(Device::cuda, i, tensors[i]);
    const cuda::GradNormLayout layout = cuda::grad_norm_layout(tensors);
    table_ = Tensor(DType::u8, {layout.bytes()}, Device::cuda, "the list of gradients");
    const std::vector<std::byte> bytes = cuda::grad_norm_table(tensors);
    copy_bytes(table_.ref().data, bytes.data(), static_cast<int64_t>(bytes.size()));
    tensors_ = layout.tensors;
    pieces_ = layout.pieces;
    for (const TensorRef& t : tensors) elements_ += t.numel();
}

void grad_norm(Ctx& ctx, const GradNormTable& table, const TensorRef& norm) {
    expect("grad_norm", "norm", norm, DType::u8, {kResultBytes});
    const cuda::GradNormLayout layout{table.tensors(), table.pieces()};
    const OpCall call{"grad_norm", {table.elements(), table.tensors()}, {table.elements() * 4, table.elements() * 2}};
    run_op(ctx, call, 0, [=, memory = table.data()](Ctx& c, void*) {
        cuda::grad_norm(c, memory, layout, static_cast<GradNorm*>(norm.data));
    });
}

}  // namespace adder
