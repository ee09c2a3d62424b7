#include "kernels/norm/norm.h"

#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/norm/norm_cpu.h"
#include "kernels/norm/norm_cuda.h"
#include "kernels/norm/norm_ref.h"

namespace adder {

void add_norm_forward(Ctx& ctx, const AddNormArgs& args, const TensorRef& residual_out, const TensorRef& y) {
    const char* op = "add_norm_forward";
    const DType storage = storage_of(ctx, op, "x", args.x), S = accum_of(storage);
    expect_rank(op, "x", args.x, 3);
    const int64_t B = args.x.size(0), L = args.x.size(1), M = args.x.size(2);
    expect_optional(op, "residual", args.residual, S, {B, L, M});
    expect(op, "weight", args.weight, S, {M});
    expect(op, "residual_out", residual_out, S, {B, L, M});
    expect(op, "y", y, storage, {B, L, M});
    const int64_t n = B * L * M, item = size_of(storage), wide = size_of(S);
    const OpCall call{op, {B, L, M}, {n * (2 * item + (args.residual ? 2 : 1) * wide), n * 5}};
    run_op(ctx, call, 0, [=](Ctx& c, void*) {
        if (c.device == Device::cuda) return cuda::add_norm_forward(c, args, residual_out, y);
        if (storage == DType::f64)
            return ref::add_norm_forward<double>(
                args.x.as<const double, 3>("x"), args.residual.as<const double, 3>("residual"),
                args.weight.as<const double, 1>("weight"), static_cast<double>(args.eps),
                residual_out.as<double, 3>("residual_out"), y.as<double, 3>("y"));
        cpu::add_norm_forward(*c.pool, args.x.as<const float, 3>("x"),
                              args.residual.as<const float, 3>("residual"),
                              args.weight.as<const float, 1>("weight"), args.eps,
                              residual_out.as<float, 3>("residual_out"), y.as<float, 3>("y"));
    });
}

void add_norm_backward(Ctx& ctx, const AddNormArgs& args, const TensorRef& residual_out, const TensorRef& d_y,
                       const TensorRef& d_residual, const TensorRef& d_weight, const TensorRef& d_x) {
    const char* op = "add_norm_backward";
    const DType storage = storage_of(ctx, op, "d_y", d_y), S = accum_of(storage);
    expect_rank(op, "d_y", d_y, 3);
    const int64_t B = d_y.size(0), L = d_y.size(1), M = d_y.size(2);
    expect(op, "residual_out", residual_out, S, {B, L, M});
    expect(op, "weight", args.weight, S, {M});
    expect(op, "d_residual", d_residual, S, {B, L, M});
    expect(op, "d_weight", d_weight, S, {M});
    if (d_x && storage != DType::bf16) fail("[{}] d_x: expected absent where the storage type is {}", op, name_of(storage));
    expect_optional(op, "d_x", d_x, storage, {B, L, M});
    if (d_x && !d_x.contiguous()) fail("[{}] d_x: expected a contiguous tensor", op);
    const int64_t n = B * L * M;
    const int64_t scratch_bytes = ctx.device == Device::cuda ? cuda::add_norm_backward_scratch_bytes(B, L, M)
                                  : storage == DType::f64    ? 0
                                                             : cpu::add_norm_backward_scratch_bytes(B, L, M);
    const OpCall call{op, {B, L, M}, {n * ((d_x ? 2 : 1) * size_of(storage) + 3 * size_of(S)), n * 12}};
    run_op(ctx, call, scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda)
            return cuda::add_norm_backward(c, args, {residual_out, d_y, d_residual, d_weight, d_x}, scratch);
        if (storage == DType::f64)
            return ref::add_norm_backward<double>(
                residual_out.as<const double, 3>("residual_out"), args.weight.as<const double, 1>("weight"),
                static_cast<double>(args.eps), d_y.as<const double, 3>("d_y"),
                d_residual.as<double, 3>("d_residual"), d_weight.as<double, 1>("d_weight"));
        cpu::add_norm_backward(*c.pool, residual_out.as<const float, 3>("residual_out"),
                               args.weight.as<const float, 1>("weight"), args.eps,
                               d_y.as<const float, 3>("d_y"), d_residual.as<float, 3>("d_residual"),
                               d_weight.as<float, 1>("d_weight"), static_cast<float*>(scratch));
    });
}

}  // namespace adder
