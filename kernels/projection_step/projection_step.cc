#include "kernels/projection_step/projection_step.h"

#include "core/ceil_div.h"
#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/gemm/gemm.h"
#include "kernels/norm/norm.h"
#include "kernels/projection_step/projection_step_cuda.h"

namespace adder {

namespace {

OpCall call_of(const char* op, int64_t B, int64_t I, int64_t O, DType storage) {
    return {op, {B, I, O}, {(B * (I + O) + O * I) * size_of(storage), 2 * B * I * O}};
}

// A stream of (B,1,M), sizes that follow from `other`.
void check(const char* op, const StepStream& s, DType storage, const Shape& rows, const char* other_name,
           const TensorRef& other) {
    const DType S = accum_of(storage);
    const int64_t M = rows[2];
    expect_beside(op, "norm weight", s.weight, S, {M}, other_name, other.shape);
    expect(op, "stream's residual", s.residual, S, rows);
    expect(op, "stream's rows", s.rows, storage, rows);
    if (!s.squares) return;
    if (s.rows.device != Device::cuda || storage != DType::bf16 || M % 8 != 0)
        fail("[{}] stream's squares: expected none but in bf16 on a GPU at a width in eights, got {}", op, describe(s.squares));
    expect(op, "stream's squares", s.squares, S, {rows[0], 1, M / 8});
}

void check(const Ctx& ctx, const InProjArgs& a, const InProjOut& out) {
    const char* op = "in_proj_step";
    const TensorRef& x = a.stream.rows;
    const DType storage = storage_of(ctx, op, "x", x), S = accum_of(storage);
    expect_rank(op, "x", x, 3);
    expect_rank(op, "weight", a.weight, 2);
    expect_rank(op, "conv_weight", a.conv_weight, 2);
    const int64_t B = x.size(0), M = x.size(2), O = a.weight.size(0);
    const int64_t C = a.conv_weight.size(0), K = a.conv_weight.size(1);
    expect(op, "x", x, storage, {B, 1, M});
    expect_step_rows(ctx, op, B);
    expect(op, "weight", a.weight, storage, {O, M});
    if (K < 2 || K > 8 || a.first < 0 || a.first + C > O)
        fail("[{}] conv_weight: expected 2 to 8 taps for outputs from {} on of a weight of {}, got {}", op,
             a.first, to_string(a.weight.shape), describe(a.conv_weight));
    expect(op, "conv_weight", a.conv_weight, S, {C, K});
    expect_beside(op, "halo", a.halo, S, {B, K - 1, C}, "taps", a.conv_weight.shape);
    expect_optional(op, "conv_bias", a.conv_bias, S, {C});
    expect(op, "halo_out", out.halo_out, S, {B, K - 1, C});
    expect_beside(op, "y", out.y, storage, {B, 1, O}, "a weight", a.weight.shape);
    if (a.stream.weight) check(op, a.stream, storage, {B, 1, M}, "x", x);
}

void check(const Ctx& ctx, const OutProjArgs& a, const StepEnd& to) {
    const char* op = "out_proj_step";
    const TensorRef& x = a.norm.x;
    const DType storage = storage_of(ctx, op, "x", x);
    expect_rank(op, "x", x, 3);
    expect_rank(op, "weight", a.weight, 2);
    const int64_t B = x.size(0), D = x.size(2), M = a.weight.size(0);
    expect(op, "x", x, storage, {B, 1, D});
    expect_step_rows(ctx, op, B);
    expect(op, "weight", a.weight, storage, {M, D});
    if (a.norm.weight) {
        expect(op, "z", a.norm.z, storage, {B, 1, D});
        expect(op, "gated norm's weight", a.norm.weight, accum_of(storage), {D});
    }
    if (to.y)
        expect_beside(op, "y", to.y, storage, {B, 1, M}, "a weight", a.weight.shape);
    else
        check(op, to.stream, storage, {B, 1, M}, "a weight", a.weight);
}

// Whether the CUDA twin takes these.
bool fits(const Ctx& ctx, const InProjArgs& a) {
    return ctx.device == Device::cuda && a.weight.dtype == DType::bf16 &&
           a.conv_weight.size(1) == cuda::kStepTaps && cuda::aligned(a.conv_weight) &&
           cuda::aligned(a.stream.rows) && cuda::aligned(a.weight);
}
// Of those with a gated norm.
bool fits(const Ctx& ctx, const OutProjArgs& a) {
    return ctx.device == Device::cuda && a.weight.dtype == DType::bf16 && a.norm.G == 1 &&
           cuda::aligned(a.norm.x) && cuda::aligned(a.norm.z) && cuda::aligned(a.norm.weight) &&
           cuda::aligned(a.weight);
}

// For the two tensors of norm_again.
TensorRef room_to_norm(Ctx& ctx, const TensorRef& rows) {
    return ctx.scratch->alloc(rows.dtype, {2 * rows.size(0), 1, rows.size(2)});
}
// The norm of a residual that is there already.
TensorRef norm_again(Ctx& ctx, const StepStream& s, const TensorRef& room) {
    const int64_t B = s.rows.size(0);
    const TensorRef normed = room.slice(0, 0, B), nothing = room.slice(0, B, B);
    fill_zero(ctx, nothing);
    add_norm_forward(ctx, {nothing, s.residual, s.weight, s.eps}, s.residual, normed);
    return normed;
}

}  // namespace

TensorRef alloc_step_rows(Ctx& ctx, DType dtype, int64_t B, int64_t width) {
    const int64_t together = 16 / size_of(dtype);
    return ctx.scratch->alloc(dtype, {B, 1, ceil_div(width, together) * together}).slice(2, 0, width);
}

StepStream alloc_step_stream(Ctx& ctx, DType storage, int64_t B, int64_t M) {
    StepStream s;
    s.residual = alloc_step_rows(ctx, accum_of(storage), B, M);
    s.rows = alloc_step_rows(ctx, storage, B, M);
    if (ctx.device == Device::cuda && storage == DType::bf16 && M % 8 == 0)
        s.squares = alloc_step_rows(ctx, DType::f32, B, M / 8);
    return s;
}

void add_to_stream(Ctx& ctx, const TensorRef& x, const TensorRef& residual, const StepStream& stream) {
    const char* op = "add_to_stream";
    const DType storage = storage_of(ctx, op, "x", x), S = accum_of(storage);
    expect_rank(op, "x", x, 3);
    const int64_t B = x.size(0), M = x.size(2);
    expect(op, "x", x, storage, {B, 1, M});
    expect_optional(op, "residual", residual, S, {B, 1, M});
    check(op, stream, storage, {B, 1, M}, "x", x);
    if (!stream.squares)
        return add_norm_forward(ctx, {x, residual, stream.weight, stream.eps}, stream.residual, stream.rows);
    const int64_t bytes = 2 * size_of(storage) + (residual ? 2 : 1) * size_of(S);
    run_op(ctx, {op, {B, M}, {B * M * bytes, 5 * B * M}}, 0,
           [=](Ctx& c, void*) { cuda::add_to_stream(c, x, residual, stream); });
}

TensorRef normed_rows(Ctx& ctx, const StepStream& stream) {
    return stream.squares ? norm_again(ctx, stream, room_to_norm(ctx, stream.rows)) : stream.rows;
}

void in_proj_step(Ctx& ctx, const InProjArgs& args, const InProjOut& out) {
    check(ctx, args, out);
    const int64_t B = out.y.size(0), M = args.stream.rows.size(2), C = args.conv_weight.size(0);
    const DType storage = out.y.dtype;
    // Both ways have the same scratch, for planning does not see alignment.
    ArenaScope scope(*ctx.scratch);
    const StepStream& stream = args.stream;
    const TensorRef convolved = ctx.scratch->alloc(storage, {B, 1, C});
    const TensorRef room = stream.squares ? room_to_norm(ctx, stream.rows) : TensorRef{};
    if (fits(ctx, args))
        return run_op(ctx, call_of("in_proj_step", B, M, out.y.size(2), storage), 0,
                      [=](Ctx& c, void*) { cuda::in_proj_step(c, args, out); });
    const TensorRef normed = stream.squares ? norm_again(ctx, stream, room) : stream.rows;
    linear_step(ctx, {normed, args.weight, {}, 0}, out.y);
    if (args.halo.data != out.halo_out.data) copy(ctx, args.halo, out.halo_out);
    const TensorRef columns = out.y.slice(2, args.first, C);
    conv1d_step(ctx, {columns, args.conv_weight, args.conv_bias, {}, {}, true}, out.halo_out, convolved);
    copy(ctx, convolved, columns);
}

void out_proj_step(Ctx& ctx, const OutProjArgs& args, const StepEnd& to) {
    check(ctx, args, to);
    const TensorRef& x = args.norm.x;
    const int64_t B = x.size(0), D = x.size(2), M = args.weight.size(0);
    ArenaScope scope(*ctx.scratch);
    const TensorRef gated = ctx.scratch->alloc(x.dtype, x.shape), scale = ctx.scratch->alloc(DType::f32, {B});
    // The product's own way into a stream needs squares.
    StepEnd end = to;
    const bool adds = !to.y && !to.stream.squares;
    if (adds) end.y = ctx.scratch->alloc(x.dtype, {B, 1, M});
    OutProjArgs product = args;
    if (args.norm.weight && !fits(ctx, args)) {
        gated_norm_forward(ctx, args.norm, gated);
        product.norm = {gated, {}, {}};
    }
    if (product.norm.weight || !end.y)
        run_op(ctx, call_of("out_proj_step", B, D, M, x.dtype), 0, [=](Ctx& c, void*) {
            cuda::out_proj_step(c, product, end, {gated, scale});
        });
    else
        linear_step(ctx, {product.norm.x, args.weight, {}, 0}, end.y);
    if (adds) add_to_stream(ctx, end.y, to.stream.residual, to.stream);
}

}  // namespace adder
