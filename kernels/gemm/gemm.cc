#include "kernels/gemm/gemm.h"

#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/gemm/gemm_cpu.h"
#include "kernels/gemm/gemm_cuda.h"
#include "kernels/gemm/gemm_ref.h"

namespace adder {

namespace {

struct Sizes {
    DType storage;
    int64_t B, L, I, O;
};

// What forward and step check.
Sizes check_forward(const Ctx& ctx, const char* op, const LinearArgs& args, const TensorRef& y) {
    const DType storage = storage_of(ctx, op, "x", args.x);
    expect_rank(op, "x", args.x, 3);
    expect_rank(op, "weight", args.weight, 2);
    const int64_t B = args.x.size(0), L = args.x.size(1), I = args.x.size(2), O = args.weight.size(0);
    expect(op, "weight", args.weight, storage, {O, I});
    // On a GPU y may be f32 beside bf16.
    const DType y_type = ctx.device == Device::cuda && y.dtype == DType::f32 ? DType::f32 : storage;
    expect_beside(op, "y", y, y_type, {B, L, O}, "a weight", args.weight.shape);
    expect_optional(op, "bias", args.bias, accum_of(storage), {O});
    return {storage, B, L, I, O};
}

OpCall call_of(const char* op, const Sizes& s, int64_t outputs_read) {
    const int64_t values = s.B * s.L * (s.I + s.O) + s.O * s.I + outputs_read;
    return {op, {s.B, s.L, s.I, s.O}, {values * size_of(s.storage), 2 * s.B * s.L * s.I * s.O}};
}

}  // namespace

void linear_forward(Ctx& ctx, const LinearArgs& args, const TensorRef& y) {
    const Sizes s = check_forward(ctx, "linear_forward", args, y);
    const int64_t scratch_bytes = ctx.device == Device::cuda ? cuda::linear_forward_scratch_bytes() : 0;
    run_op(ctx, call_of("linear_forward", s, 0), scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::linear_forward(c, args, y, scratch);
        if (s.storage == DType::f64)
            return ref::linear_forward<double>(args.x.as<const double, 3>("x"),
                                               args.weight.as<const double, 2>("weight"),
                                               args.bias.as<const double, 1>("bias"), y.as<double, 3>("y"));
        cpu::linear_forward(*c.pool, args.x.as<const float, 3>("x"), args.weight.as<const float, 2>("weight"),
                            args.bias.as<const float, 1>("bias"), args.t0, y.as<float, 3>("y"));
    });
}

void linear_backward_input(Ctx& ctx, const LinearArgs& args, const TensorRef& d_y, const TensorRef& d_x,
                           bool add) {
    const char* op = "linear_backward_input";
    const DType storage = storage_of(ctx, op, "d_y", d_y);
    expect_rank(op, "d_y", d_y, 3);
    expect_rank(op, "weight", args.weight, 2);
    const Sizes s{storage, d_y.size(0), d_y.size(1), args.weight.size(1), d_y.size(2)};
    expect(op, "weight", args.weight, storage, {s.O, s.I});
    expect(op, "d_x", d_x, storage, {s.B, s.L, s.I});
    const int64_t scratch_bytes = ctx.device == Device::cuda ? cuda::linear_backward_input_scratch_bytes()
                                  : storage == DType::f64    ? 0
                                                             : cpu::linear_backward_input_scratch_bytes(s.I, s.O);
    run_op(ctx, call_of(op, s, add ? s.B * s.L * s.I : 0), scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::linear_backward_input(c, args, d_y, d_x, add, scratch);
        if (storage == DType::f64)
            return ref::linear_backward_input<double>(args.weight.as<const double, 2>("weight"),
                                                      d_y.as<const double, 3>("d_y"),
                                                      d_x.as<double, 3>("d_x"), add);
        cpu::linear_backward_input(*c.pool, args.weight.as<const float, 2>("weight"),
                                   d_y.as<const float, 3>("d_y"), args.t0, d_x.as<float, 3>("d_x"), add,
                                   static_cast<float*>(scratch));
    });
}

void linear_backward_weight(Ctx& ctx, const LinearArgs& args, const TensorRef& d_y, const TensorRef& d_weight,
                            const TensorRef& d_bias) {
    const char* op = "linear_backward_weight";
    const DType storage = storage_of(ctx, op, "d_y", d_y), S = accum_of(storage);
    expect_rank(op, "d_y", d_y, 3);
    expect_rank(op, "x", args.x, 3);
    const Sizes s{storage, d_y.size(0), d_y.size(1), args.x.size(2), d_y.size(2)};
    expect(op, "x", args.x, storage, {s.B, s.L, s.I});
    expect_optional(op, "weight", args.weight, storage, {s.O, s.I});
    expect(op, "d_weight", d_weight, S, {s.O, s.I});
    if (static_cast<bool>(args.bias) != static_cast<bool>(d_bias))
        fail("[{}] d_bias: expected exactly where there is a bias, got bias {}, d_bias {}", op,
             describe(args.bias), describe(d_bias));
    expect_optional(op, "bias", args.bias, S, {s.O});
    expect_optional(op, "d_bias", d_bias, S, {s.O});
    const int64_t scratch_bytes =
        ctx.device == Device::cuda ? cuda::linear_backward_weight_scratch_bytes(args, d_y, static_cast<bool>(d_bias))
        : storage == DType::f64    ? 0
                                   : cpu::linear_backward_weight_scratch_bytes(s.B, s.L, s.I, s.O, args.t0);
    run_op(ctx, call_of(op, s, s.O * s.I), scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::linear_backward_weight(c, args, d_y, d_weight, d_bias, scratch);
        if (storage == DType::f64)
            return ref::linear_backward_weight<double>(
                args.x.as<const double, 3>("x"), d_y.as<const double, 3>("d_y"),
                d_weight.as<double, 2>("d_weight"), d_bias.as<double, 1>("d_bias"));
        cpu::linear_backward_weight(*c.pool, args.x.as<const float, 3>("x"), d_y.as<const float, 3>("d_y"),
                                    args.t0, d_weight.ptr<float>("d_weight"), d_bias.as<float, 1>("d_bias"),
                                    static_cast<float*>(scratch));
    });
}

void expect_step_rows(const Ctx& ctx, const char* op, int64_t B) {
    if (ctx.device == Device::cuda && B > kMostStepRowsCuda)
        fail("[{}] x: {} rows are more than a step on a GPU can have, {}; hint: a smaller --batch", op, B,
             kMostStepRowsCuda);
}

void linear_step(Ctx& ctx, const LinearArgs& args, const TensorRef& y) {
    const Sizes s = check_forward(ctx, "linear_step", args, y);
    if (s.L != 1) fail("[linear_step] x: expected one step, (B,1,I), got {}", describe(args.x));
    expect_step_rows(ctx, "linear_step", s.B);
    run_op(ctx, call_of("linear_step", s, 0), 0, [=](Ctx& c, void*) {
        if (c.device == Device::cuda) return cuda::linear_step(c, args, y);
        if (s.storage == DType::f64)
            return ref::linear_forward<double>(args.x.as<const double, 3>("x"),
                                               args.weight.as<const double, 2>("weight"),
                                               args.bias.as<const double, 1>("bias"), y.as<double, 3>("y"));
        cpu::linear_step(*c.pool, args.x.as<const float, 3>("x"), args.weight.as<const float, 2>("weight"),
                         args.bias.as<const float, 1>("bias"), y.as<float, 3>("y"));
    });
}

}  // namespace adder
