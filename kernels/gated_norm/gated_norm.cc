#include "kernels/gated_norm/gated_norm.h"

#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/gated_norm/gated_norm_cpu.h"
#include "kernels/gated_norm/gated_norm_cuda.h"
#include "kernels/gated_norm/gated_norm_ref.h"

namespace adder {

namespace {

// Checks the inputs and returns (B,L,D).
Shape check_args(const Ctx& ctx, const char* op, const GatedNormArgs& args) {
    const DType storage = storage_of(ctx, op, "x", args.x);
    expect_rank(op, "x", args.x, 3);
    const int64_t D = args.x.size(2);
    expect(op, "z", args.z, storage, args.x.shape);
    expect(op, "weight", args.weight, accum_of(storage), {D});
    if (args.G < 1 || D % args.G != 0)
        fail("[{}] G: expected a divisor of the {} channels, got {}", op, D, args.G);
    return args.x.shape;
}

cpu::GatedNormRows rows_of(const GatedNormArgs& args) {
    return {args.x.as<const float, 3>("x"), args.z.as<const float, 3>("z"),
            args.weight.as<const float, 1>("weight"), args.G, args.eps};
}

}  // namespace

void gated_norm_forward(Ctx& ctx, const GatedNormArgs& args, const TensorRef& y) {
    const char* op = "gated_norm_forward";
    const Shape shape = check_args(ctx, op, args);
    const DType storage = args.x.dtype;
    expect(op, "y", y, storage, shape);
    const int64_t n = shape.numel();
    const OpCall call{op, {shape[0], shape[1], shape[2], args.G}, {n * size_of(storage) * 3, n * 9}};
    run_op(ctx, call, 0, [=](Ctx& c, void*) {
        if (c.device == Device::cuda) return cuda::gated_norm_forward(c, args, y);
        if (storage == DType::f64)
            return ref::gated_norm_forward<double>(args.x.as<const double, 3>("x"),
                                                   args.z.as<const double, 3>("z"),
                                                   args.weight.as<const double, 1>("weight"), args.G,
                                                   static_cast<double>(args.eps), y.as<double, 3>("y"));
        cpu::gated_norm_forward(*c.pool, rows_of(args), y.as<float, 3>("y"));
    });
}

void gated_norm_backward(Ctx& ctx, const GatedNormArgs& args, const TensorRef& d_y, const TensorRef& d_x,
                         const TensorRef& d_z, const TensorRef& d_weight) {
    const char* op = "gated_norm_backward";
    const Shape shape = check_args(ctx, op, args);
    const DType storage = args.x.dtype;
    expect(op, "d_y", d_y, storage, shape);
    expect(op, "d_x", d_x, storage, shape);
    expect(op, "d_z", d_z, storage, shape);
    expect(op, "d_weight", d_weight, accum_of(storage), {shape[2]});
    const int64_t n = shape.numel();
    const int64_t scratch_bytes =
        ctx.device == Device::cuda ? cuda::gated_norm_backward_scratch_bytes(args)
        : storage == DType::f64    ? 0
                                   : cpu::gated_norm_backward_scratch_bytes(shape[0], shape[1], shape[2]);
    const OpCall call{op, {shape[0], shape[1], shape[2], args.G}, {n * size_of(storage) * 5, n * 24}};
    run_op(ctx, call, scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::gated_norm_backward(c, args, {d_y, d_x, d_z, d_weight}, scratch);
        if (storage == DType::f64)
            return ref::gated_norm_backward<double>(
                args.x.as<const double, 3>("x"), args.z.as<const double, 3>("z"),
                args.weight.as<const double, 1>("weight"), args.G, static_cast<double>(args.eps),
                d_y.as<const double, 3>("d_y"), d_x.as<double, 3>("d_x"), d_z.as<double, 3>("d_z"),
                d_weight.as<double, 1>("d_weight"));
        cpu::gated_norm_backward(*c.pool, rows_of(args), d_y.as<const float, 3>("d_y"),
                                 d_x.as<float, 3>("d_x"), d_z.as<float, 3>("d_z"),
                                 d_weight.as<float, 1>("d_weight"), static_cast<float*>(scratch));
    });
}

}  // namespace adder
