#include "kernels/scan/scan.h"

#include "core/ceil_div.h"
#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/gemm/gemm.h"
#include "kernels/scan/scan_cpu.h"
#include "kernels/scan/scan_cuda.h"
#include "kernels/scan/scan_ref.h"

namespace adder {

namespace {

using cpu::ScanSizes;

// Checks the arguments that forward, backward and step share, and returns the sizes.
ScanSizes check_args(const Ctx& ctx, const char* op, const ScanArgs& a) {
    const DType storage = storage_of(ctx, op, "u", a.u), accum = accum_of(storage);
    expect_rank(op, "u", a.u, 3);
    expect_rank(op, "A_log", a.A_log, 2);
    expect_rank(op, "B", a.B, 3);
    expect_rank(op, "C", a.C, 3);
    // Two of A_log, B and C decide N, so that the third is the one that is named.
    const int64_t N = a.B.size(2) == a.C.size(2) ? a.B.size(2) : a.A_log.size(1);
    const ScanSizes s{a.u.size(0), a.u.size(1), a.u.size(2), N};
    if (s.B < 1 || s.L < 1 || s.D < 1)
        fail("[{}] u: expected (B,L,D) without zeros, got {}", op, to_string(a.u.shape));
    if (ctx.device == Device::cuda && s.L > kMostScanStepsCuda)
        fail("[{}] u: {} steps are more than a call on a GPU can have, {}; hint: a smaller --tile", op, s.L,
             kMostScanStepsCuda);
    if (N < 1 || N > 256)
        fail("[{}] A_log: expected (D,N) with N from 1 to 256, got {}", op, to_string(a.A_log.shape));
    expect(op, "dt_raw", a.dt_raw, storage, {s.B, s.L, s.D});
    expect(op, "A_log", a.A_log, accum, {s.D, s.N});
    expect(op, "B", a.B, storage, {s.B, s.L, s.N});
    expect(op, "C", a.C, storage, {s.B, s.L, s.N});
    expect(op, "D", a.D, accum, {s.D});
    expect(op, "dt_bias", a.dt_bias, accum, {s.D});
    expect_optional(op, "z", a.z, storage, {s.B, s.L, s.D});
    expect_optional(op, "start", a.start, DType::u8, {s.B, s.L});
    expect_optional(op, "h0", a.h0, accum, {s.B, s.D, s.N});
    return s;
}

// A step counts one operation for each of exp, its argument, B u, two for the state and two for the output.
OpCall forward_call(const char* op, const ScanSizes& s, const ScanArgs& a, bool want_y) {
    const int64_t rows = 2 + (a.z ? 1 : 0) + (want_y ? 1 : 0);
    const int64_t numbers = rows * s.B * s.L * s.D + 2 * s.B * s.L * s.N + s.D * s.N + 2 * s.B * s.D * s.N;
    const int64_t flops = s.B * s.L * s.D * s.N * (want_y ? 7 : 5);
    return {op, {s.B, s.L, s.D, s.N}, {numbers * size_of(a.u.dtype), flops}};
}

// Backward repeats the states and adds two operations for each of seven products per state.
OpCall backward_call(const char* op, const ScanSizes& s, const ScanArgs& a) {
    const int64_t rows = 5 + (a.z ? 2 : 0);
    const int64_t numbers = rows * s.B * s.L * s.D + 4 * s.B * s.L * s.N + 2 * s.D * s.N +
                            scan_chunk_states_shape(s.B, s.L, s.D, s.N).numel();
    const int64_t flops = s.B * s.L * s.D * s.N * (a.z ? 21 : 19);
    return {op, {s.B, s.L, s.D, s.N}, {numbers * size_of(a.u.dtype), flops}};
}

ref::Scan<double> typed(const ScanArgs& a) {
    return {a.u.as<const double, 3>("u"),
            a.dt_raw.as<const double, 3>("dt_raw"),
            a.A_log.as<const double, 2>("A_log"),
            a.B.as<const double, 3>("B"),
            a.C.as<const double, 3>("C"),
            a.D.as<const double, 1>("D"),
            a.dt_bias.as<const double, 1>("dt_bias"),
            a.z.as<const double, 3>("z"),
            a.start.as<const uint8_t, 2>("start"),
            a.h0.as<const double, 3>("h0"),
            a.discretization};
}

ref::ScanGradients<double> typed(const ScanGrads& g) {
    return {g.d_y.as<const double, 3>("d_y"),
            g.d_u.as<double, 3>("d_u"),
            g.d_dt_raw.as<double, 3>("d_dt_raw"),
            g.d_z.as<double, 3>("d_z"),
            g.d_B.as<double, 3>("d_B"),
            g.d_C.as<double, 3>("d_C"),
            g.d_A_log.as<double, 2>("d_A_log"),
            g.d_D.as<double, 1>("d_D"),
            g.d_dt_bias.as<double, 1>("d_dt_bias"),
            g.d_h.as<double, 3>("d_h")};
}

}  // namespace

Shape scan_chunk_states_shape(int64_t B, int64_t L, int64_t D, int64_t N) {
    return {B, ceil_div(L, kScanChunk), N, D};
}

void scan_forward(Ctx& ctx, const ScanArgs& args, const ScanOut& out) {
    const char* op = "scan_forward";
    const ScanSizes s = check_args(ctx, op, args);
    const DType storage = args.u.dtype, accum = accum_of(storage);
    expect_optional(op, "y", out.y, storage, {s.B, s.L, s.D});
    expect(op, "hT", out.hT, accum, {s.B, s.D, s.N});
    expect_optional(op, "chunk_states", out.chunk_states, accum, scan_chunk_states_shape(s.B, s.L, s.D, s.N));
    if (out.chunk_states && args.h0 && out.hT.data && out.hT.data == args.h0.data)
        fail("[{}] hT: overlaps h0, which backward still needs", op);
    const OpCall call = forward_call(op, s, args, static_cast<bool>(out.y));
    if (ctx.device == Device::cuda) {
        run_op(ctx, call, cuda::scan_forward_scratch_bytes(args),
               [args, out](Ctx& c, void* scratch) { cuda::scan_forward(c, args, out, scratch); });
    } else if (storage == DType::f32) {
        run_op(ctx, call, cpu::scan_forward_scratch_bytes(s), [args, out](Ctx& c, void* scratch) {
            cpu::scan_forward(*c.pool, args, out, static_cast<float*>(scratch));
        });
    } else {
        run_op(ctx, call, ref::scan_forward_values(s.N) * size_of(accum), [args, out](Ctx&, void* scratch) {
            ref::scan_forward<double>(typed(args), out.y.as<double, 3>("y"), out.hT.as<double, 3>("hT"),
                                      out.chunk_states.as<double, 4>("chunk_states"),
                                      static_cast<double*>(scratch));
        });
    }
}

void scan_backward(Ctx& ctx, const ScanArgs& args, const TensorRef& chunk_states, const ScanGrads& grads) {
    const char* op = "scan_backward";
    const ScanSizes s = check_args(ctx, op, args);
    const DType storage = args.u.dtype, accum = accum_of(storage);
    expect(op, "chunk_states", chunk_states, accum, scan_chunk_states_shape(s.B, s.L, s.D, s.N));
    expect(op, "d_y", grads.d_y, storage, {s.B, s.L, s.D});
    expect(op, "d_u", grads.d_u, storage, {s.B, s.L, s.D});
    expect(op, "d_dt_raw", grads.d_dt_raw, storage, {s.B, s.L, s.D});
    if (args.z) expect(op, "d_z", grads.d_z, storage, {s.B, s.L, s.D});
    if (!args.z && grads.d_z) fail("[{}] d_z: given without z: got {}", op, describe(grads.d_z));
    expect(op, "d_B", grads.d_B, storage, {s.B, s.L, s.N});
    expect(op, "d_C", grads.d_C, storage, {s.B, s.L, s.N});
    expect(op, "d_A_log", grads.d_A_log, accum, {s.D, s.N});
    expect(op, "d_D", grads.d_D, accum, {s.D});
    expect(op, "d_dt_bias", grads.d_dt_bias, accum, {s.D});
    expect_optional(op, "d_h", grads.d_h, accum, {s.B, s.D, s.N});
    const OpCall call = backward_call(op, s, args);
    if (ctx.device == Device::cuda) {
        run_op(ctx, call, cuda::scan_backward_scratch_bytes(args),
               [args, chunk_states, grads](Ctx& c, void* scratch) {
                   cuda::scan_backward(c, args, chunk_states, grads, scratch);
               });
    } else if (storage == DType::f32) {
        run_op(ctx, call, cpu::scan_backward_scratch_bytes(s),
               [args, chunk_states, grads](Ctx& c, void* scratch) {
                   cpu::scan_backward(*c.pool, args, chunk_states, grads, static_cast<float*>(scratch));
               });
    } else {
        run_op(ctx, call, ref::scan_backward_values(s.L, s.N) * size_of(accum),
               [args, grads](Ctx&, void* scratch) {
                   ref::scan_backward<double>(typed(args), typed(grads), static_cast<double*>(scratch));
               });
    }
}

void scan_step(Ctx& ctx, const ScanArgs& args, const TensorRef& h, const TensorRef& y) {
    const char* op = "scan_step";
    ScanArgs a = args;
    a.h0 = h;
    const ScanSizes s = check_args(ctx, op, a);
    if (s.L != 1) fail("[{}] u: expected (B,1,D), got {}", op, to_string(args.u.shape));
    const DType storage = args.u.dtype;
    expect(op, "h", h, accum_of(storage), {s.B, s.D, s.N});
    expect(op, "y", y, storage, {s.B, 1, s.D});
    const OpCall call = forward_call(op, s, a, true);
    if (ctx.device == Device::cuda) {
        run_op(ctx, call, 0, [a, h, y](Ctx& c, void*) { cuda::scan_step(c, a, h, y); });
    } else if (storage == DType::f32) {
        run_op(ctx, call, 0, [a, h, y](Ctx& c, void*) { cpu::scan_step(*c.pool, a, h, y); });
    } else {
        run_op(ctx, call, ref::scan_forward_values(s.N) * size_of(DType::f64),
               [a, h, y](Ctx&, void* scratch) {
                   ref::scan_forward<double>(typed(a), y.as<double, 3>("y"), h.as<double, 3>("h"), {},
                                             static_cast<double*>(scratch));
               });
    }
}

void scan_step_low_rank(Ctx& ctx, const ScanArgs& args, const LowRankStep& dt, const TensorRef& hT,
                        const TensorRef& y) {
    const char* op = "scan_step_low_rank";
    const DType storage = storage_of(ctx, op, "u", args.u);
    expect_rank(op, "u", args.u, 3);
    expect_rank(op, "x", dt.x, 3);
    const int64_t B = args.u.size(0), D = args.u.size(2), R = dt.x.size(2);
    expect(op, "u", args.u, storage, {B, 1, D});
    expect(op, "x", dt.x, storage, {B, 1, R});
    expect_beside(op, "weight", dt.weight, storage, {D, R}, "x", dt.x.shape);
    ScanArgs a = args;
    // Both ways have the same scratch, for planning does not see alignment.
    ArenaScope scope(*ctx.scratch);
    a.dt_raw = ctx.scratch->alloc(storage, {B, 1, D});
    const ScanSizes s = check_args(ctx, op, a);
    expect(op, "h0", a.h0, accum_of(storage), {s.B, s.D, s.N});
    expect(op, "hT", hT, accum_of(storage), {s.B, s.D, s.N});
    expect(op, "y", y, storage, {s.B, 1, s.D});
    if (ctx.device == Device::cuda && cuda::scan_step_low_rank_fits(a, dt, hT))
        return run_op(ctx, forward_call(op, s, a, true), 0,
                      [=](Ctx& c, void*) { cuda::scan_step_low_rank(c, a, dt, hT, y); });
    linear_step(ctx, {dt.x, dt.weight, {}, 0}, a.dt_raw);
    if (a.h0.data != hT.data) copy(ctx, a.h0, hT);
    a.h0 = {};
    scan_step(ctx, a, hT, y);
}

}  // namespace adder
