#include "kernels/pool/pool.h"

#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/pool/pool_cpu.h"
#include "kernels/pool/pool_cuda.h"
#include "kernels/pool/pool_ref.h"

namespace adder {

namespace {

struct Sizes {
    DType storage, S;
    int64_t B, L, M;
    Shape values() const { return {B, L, M}; }
    Shape state() const { return {B, M + 1}; }
};

Sizes check_args(const Ctx& ctx, const char* op, const PoolArgs& args) {
    const DType storage = storage_of(ctx, op, "y", args.y);
    expect_rank(op, "y", args.y, 3);
    const Sizes s{storage, accum_of(storage), args.y.size(0), args.y.size(1), args.y.size(2)};
    expect_optional(op, "start", args.start, DType::u8, {s.B, s.L});
    expect_optional(op, "state", args.state, s.S, s.state());
    return s;
}

OpCall call_of(const char* op, const Sizes& s, int64_t narrow, int64_t wide) {
    const int64_t n = s.B * s.L * s.M;
    return {op, {s.B, s.L, s.M}, {n * (narrow * size_of(s.storage) + wide * size_of(s.S)), 2 * n}};
}

template <class P, class S>
P typed(const PoolArgs& a) {
    return {a.y.as<const S, 3>("y"), a.start.as<const uint8_t, 2>("start"), a.state.as<const S, 2>("state"), a.kind};
}

}  // namespace

void pool_forward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const TensorRef& state_out) {
    const char* op = "pool_forward";
    const Sizes s = check_args(ctx, op, args);
    expect_optional(op, "z", z, s.S, s.values());
    expect_optional(op, "state_out", state_out, s.S, s.state());
    const int64_t scratch_bytes = ctx.device == Device::cuda ? cuda::pool_scratch_bytes(s.B, s.L, s.M, args.kind) : 0;
    run_op(ctx, call_of(op, s, 1, z ? 1 : 0), scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::pool_forward(c, args, z, state_out, scratch);
        if (s.storage == DType::f64)
            return ref::pool_forward<double>(typed<ref::Pool<double>, double>(args), z.as<double, 3>("z"),
                                             state_out.as<double, 2>("state_out"));
        cpu::pool_forward(*c.pool, typed<cpu::Pool, float>(args), z.as<float, 3>("z"),
                          state_out.as<float, 2>("state_out"));
    });
}

void pool_backward(Ctx& ctx, const PoolArgs& args, const TensorRef& z, const PoolGrads& grads) {
    const char* op = "pool_backward";
    const Sizes s = check_args(ctx, op, args);
    const bool reads_z = args.kind == PoolKind::max;
    reads_z ? expect(op, "z", z, s.S, s.values()) : expect_optional(op, "z", z, s.S, s.values());
    expect(op, "d_z", grads.d_z, s.S, s.values());
    expect(op, "d_y", grads.d_y, s.storage, s.values());
    expect_optional(op, "d_state", grads.d_state, s.S, s.state());
    int64_t scratch_bytes = 0;
    if (ctx.device == Device::cuda)
        scratch_bytes = cuda::pool_scratch_bytes(s.B, s.L, s.M, args.kind);
    else if (s.storage != DType::f64 && args.kind == PoolKind::mean)
        scratch_bytes = s.B * s.L * static_cast<int64_t>(sizeof(double));
    run_op(ctx, call_of(op, s, reads_z ? 2 : 1, reads_z ? 2 : 1), scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::pool_backward(c, args, z, grads, scratch);
        if (s.storage == DType::f64)
            return ref::pool_backward<double>(typed<ref::Pool<double>, double>(args), z.as<const double, 3>("z"),
                                              grads.d_z.as<const double, 3>("d_z"), grads.d_y.as<double, 3>("d_y"),
                                              grads.d_state.as<double, 2>("d_state"));
        cpu::pool_backward(*c.pool, typed<cpu::Pool, float>(args), z.as<const float, 3>("z"),
                           grads.d_z.as<const float, 3>("d_z"), grads.d_y.as<float, 3>("d_y"),
                           grads.d_state.as<float, 2>("d_state"), static_cast<double*>(scratch));
    });
}

}  // namespace adder
