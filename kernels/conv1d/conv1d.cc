#include "kernels/conv1d/conv1d.h"

#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/conv1d/conv1d_cpu.h"
#include "kernels/conv1d/conv1d_cuda.h"
#include "kernels/conv1d/conv1d_ref.h"

namespace adder {

namespace {

struct Sizes {
    const char* op;
    DType storage;
    int64_t B, L, D, K;
    Shape weight;

    // Throws Error unless an absent or (B,K-1,D) tensor is given.
    void expect_halo(const char* name, const TensorRef& t) const {
        if (t) expect_beside(op, name, t, accum_of(storage), {B, K - 1, D}, "a weight", weight);
    }
};

Sizes check_args(const Ctx& ctx, const char* op, const Conv1dArgs& args) {
    const DType storage = storage_of(ctx, op, "x", args.x), S = accum_of(storage);
    expect_rank(op, "x", args.x, 3);
    expect_rank(op, "weight", args.weight, 2);
    const Sizes s{
        op, storage, args.x.size(0), args.x.size(1), args.x.size(2), args.weight.size(1), args.weight.shape};
    if (s.K < 2 || s.K > 8)
        fail("[{}] weight: expected (D,K) with K from 2 to 8, got {}", op, describe(args.weight));
    expect(op, "weight", args.weight, S, {s.D, s.K});
    expect_optional(op, "bias", args.bias, S, {s.D});
    expect_optional(op, "start", args.start, DType::u8, {s.B, s.L});
    return s;
}

OpCall call_of(const char* op, const Sizes& s, int64_t activations, int64_t flops) {
    const int64_t n = s.B * s.L * s.D;
    return {op, {s.B, s.L, s.D, s.K}, {(n * activations + s.D * s.K) * size_of(s.storage), n * flops}};
}

template <class Conv, class S>
Conv typed(const Conv1dArgs& a) {
    return {a.x.as<const S, 3>("x"),       a.weight.as<const S, 2>("weight"),
            a.bias.as<const S, 1>("bias"), a.start.as<const uint8_t, 2>("start"),
            a.halo.as<const S, 3>("halo"), a.silu};
}

}  // namespace

void conv1d_forward(Ctx& ctx, const Conv1dArgs& args, const TensorRef& y, const TensorRef& halo_out) {
    const char* op = "conv1d_forward";
    const Sizes s = check_args(ctx, op, args);
    s.expect_halo("halo", args.halo);
    s.expect_halo("halo_out", halo_out);
    expect(op, "y", y, s.storage, {s.B, s.L, s.D});
    const int64_t scratch_bytes =
        ctx.device == Device::cuda ? cuda::conv1d_forward_scratch_bytes(s.B, s.L, s.D, s.K)
        : s.storage == DType::f64  ? 0
                                   : cpu::conv1d_forward_scratch_bytes(s.D, s.K);
    run_op(ctx, call_of(op, s, 2, 2 * s.K + 5), scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::conv1d_forward(c, args, y, halo_out, scratch);
        if (s.storage == DType::f64)
            return ref::conv1d_forward<double>(typed<ref::Conv1d<double>, double>(args), y.as<double, 3>("y"),
                                               halo_out.as<double, 3>("halo_out"));
        cpu::conv1d_forward(*c.pool, typed<cpu::Conv1d, float>(args), y.as<float, 3>("y"),
                            halo_out.as<float, 3>("halo_out"), static_cast<float*>(scratch));
    });
}

void conv1d_backward(Ctx& ctx, const Conv1dArgs& args, const Conv1dGrads& grads) {
    const char* op = "conv1d_backward";
    const Sizes s = check_args(ctx, op, args);
    const DType S = accum_of(s.storage);
    s.expect_halo("halo", args.halo);
    s.expect_halo("d_halo", grads.d_halo);
    expect(op, "d_y", grads.d_y, s.storage, {s.B, s.L, s.D});
    expect(op, "d_x", grads.d_x, s.storage, {s.B, s.L, s.D});
    expect(op, "d_weight", grads.d_weight, S, {s.D, s.K});
    if (static_cast<bool>(args.bias) != static_cast<bool>(grads.d_bias))
        fail("[{}] d_bias: expected exactly where there is a bias, got bias {}, d_bias {}", op,
             describe(args.bias), describe(grads.d_bias));
    expect_optional(op, "d_bias", grads.d_bias, S, {s.D});
    const int64_t scratch_bytes =
        ctx.device == Device::cuda ? cuda::conv1d_backward_scratch_bytes(s.B, s.L, s.D, s.K)
        : s.storage == DType::f64  ? 0
                                   : cpu::conv1d_backward_scratch_bytes(s.B, s.L, s.D, s.K);
    run_op(ctx, call_of(op, s, 3, 6 * s.K + 10), scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::conv1d_backward(c, args, grads, scratch);
        if (s.storage == DType::f64)
            return ref::conv1d_backward<double>(
                typed<ref::Conv1d<double>, double>(args), grads.d_y.as<const double, 3>("d_y"),
                grads.d_x.as<double, 3>("d_x"), grads.d_weight.as<double, 2>("d_weight"),
                grads.d_bias.as<double, 1>("d_bias"), grads.d_halo.as<double, 3>("d_halo"));
        cpu::conv1d_backward(*c.pool, typed<cpu::Conv1d, float>(args), grads.d_y.as<const float, 3>("d_y"),
                             grads.d_x.as<float, 3>("d_x"), grads.d_weight.as<float, 2>("d_weight"),
                             grads.d_bias.as<float, 1>("d_bias"), grads.d_halo.as<float, 3>("d_halo"),
                             static_cast<float*>(scratch));
    });
}

void conv1d_step(Ctx& ctx, const Conv1dArgs& args, const TensorRef& halo, const TensorRef& y) {
    const char* op = "conv1d_step";
    const Sizes s = check_args(ctx, op, args);
    if (s.L != 1) fail("[{}] x: expected one step, (B,1,D), got {}", op, describe(args.x));
    expect(op, "halo", halo, accum_of(s.storage), {s.B, s.K - 1, s.D});
    expect(op, "y", y, s.storage, {s.B, 1, s.D});
    const int64_t scratch_bytes = ctx.device == Device::cuda || s.storage == DType::f64
                                      ? 0
                                      : cpu::conv1d_forward_scratch_bytes(s.D, s.K);
    run_op(ctx, call_of(op, s, 2 * s.K, 2 * s.K + 5), scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::conv1d_step(c, args, halo, y);
        if (s.storage == DType::f64) {
            auto conv = typed<ref::Conv1d<double>, double>(args);
            conv.halo = halo.as<const double, 3>("halo");
            return ref::conv1d_forward<double>(conv, y.as<double, 3>("y"), halo.as<double, 3>("halo"));
        }
        cpu::conv1d_step(*c.pool, typed<cpu::Conv1d, float>(args), halo.as<float, 3>("halo"),
                         y.as<float, 3>("y"), static_cast<float*>(scratch));
    });
}

}  // namespace adder
