#include "kernels/projection_step/projection_step.h"

#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/gemm/gemm.h"
#include "kernels/projection_step/projection_step_cuda.h"

namespace adder {

namespace {

OpCall call_of(const char* op, int64_t B, int64_t I, int64_t O, DType storage) {
    return {op, {B, I, O}, {(B * (I + O) + O * I) * size_of(storage), 2 * B * I * O}};
}

void check(const Ctx& ctx, const InProjArgs& a, const InProjOut& out) {
    const char* op = "in_proj_step";
    const DType storage = storage_of(ctx, op, "x", a.norm.x), S = accum_of(storage);
    expect_rank(op, "x", a.norm.x, 3);
    expect_rank(op, "weight", a.weight, 2);
    expect_rank(op, "conv_weight", a.conv_weight, 2);
    const int64_t B = a.norm.x.size(0), M = a.norm.x.size(2), O = a.weight.size(0);
    const int64_t C = a.conv_weight.size(0), K = a.conv_weight.size(1);
    expect(op, "x", a.norm.x, storage, {B, 1, M});
    expect(op, "weight", a.weight, storage, {O, M});
    if (K < 2 || K > 8 || a.first < 0 || a.first + C > O)
        fail("[{}] conv_weight: expected 2 to 8 taps for outputs from {} on of a weight of {}, got {}", op,
             a.first, to_string(a.weight.shape), describe(a.conv_weight));
    expect(op, "conv_weight", a.conv_weight, S, {C, K});
    expect_beside(op, "halo", a.halo, S, {B, K - 1, C}, "taps", a.conv_weight.shape);
    expect_optional(op, "conv_bias", a.conv_bias, S, {C});
    expect(op, "halo_out", out.halo_out, S, {B, K - 1, C});
    expect_beside(op, "y", out.y, storage, {B, 1, O}, "a weight", a.weight.shape);
    expect_optional(op, "residual", a.norm.residual, S, {B, 1, M});
    if (!a.norm.weight) return;
    expect(op, "norm weight", a.norm.weight, S, {M});
    expect(op, "residual_out", out.residual_out, S, {B, 1, M});
    if (out.residual_out.data && out.residual_out.data == a.norm.residual.data)
        fail("[{}] residual_out: overlaps residual", op);
}

}  // namespace

void in_proj_step(Ctx& ctx, const InProjArgs& args, const InProjOut& out) {
    check(ctx, args, out);
    const TensorRef& x = args.norm.x;
    const int64_t B = x.size(0), C = args.conv_weight.size(0);
    // Both ways have the same scratch, for planning does not see alignment.
    ArenaScope scope(*ctx.scratch);
    const TensorRef normed = args.norm.weight ? ctx.scratch->alloc(x.dtype, x.shape) : x;
    const TensorRef convolved = ctx.scratch->alloc(x.dtype, {B, 1, C}),
                    scale = ctx.scratch->alloc(DType::f32, {B});
    if (ctx.device == Device::cuda && cuda::in_proj_step_fits(args, out))
        return run_op(ctx, call_of("in_proj_step", B, x.size(2), out.y.size(2), x.dtype), 0,
                      [=](Ctx& c, void*) {
                          cuda::in_proj_step(c, args, out, {normed, scale});
                      });
    if (args.norm.weight) add_norm_forward(ctx, args.norm, out.residual_out, normed);
    linear_step(ctx, {normed, args.weight, {}, 0}, out.y);
    if (args.halo.data != out.halo_out.data) copy(ctx, args.halo, out.halo_out);
    const TensorRef columns = out.y.slice(2, args.first, C);
    conv1d_step(ctx, {columns, args.conv_weight, args.conv_bias, {}, {}, true}, out.halo_out, convolved);
    copy(ctx, convolved, columns);
}

void out_proj_step(Ctx& ctx, const GatedNormArgs& norm, const TensorRef& weight, const TensorRef& y) {
    const char* op = "out_proj_step";
    const DType storage = storage_of(ctx, op, "x", norm.x);
    expect_rank(op, "x", norm.x, 3);
    expect_rank(op, "weight", weight, 2);
    const int64_t B = norm.x.size(0), D = norm.x.size(2), M = weight.size(0);
    expect(op, "x", norm.x, storage, {B, 1, D});
    expect(op, "z", norm.z, storage, {B, 1, D});
    expect(op, "norm weight", norm.weight, accum_of(storage), {D});
    expect(op, "weight", weight, storage, {M, D});
    expect_beside(op, "y", y, storage, {B, 1, M}, "a weight", weight.shape);
    ArenaScope scope(*ctx.scratch);
    const TensorRef gated = ctx.scratch->alloc(storage, norm.x.shape),
                    scale = ctx.scratch->alloc(DType::f32, {B});
    if (ctx.device == Device::cuda && cuda::out_proj_step_fits(norm, weight))
        return run_op(ctx, call_of(op, B, D, M, storage), 0, [=](Ctx& c, void*) {
            cuda::out_proj_step(c, norm, weight, y, {gated, scale});
        });
    gated_norm_forward(ctx, norm, gated);
    linear_step(ctx, {gated, weight, {}, 0}, y);
}

}  // namespace adder
