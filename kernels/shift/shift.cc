#include "kernels/shift/shift.h"

#include "core/ceil_div.h"
#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/shift/shift_cpu.h"
#include "kernels/shift/shift_cuda.h"
#include "kernels/shift/shift_ref.h"

namespace adder {

namespace {

OpCall call_of(const char* op, const TensorRef& rows) {
    return {op, {rows.size(0), rows.size(1), rows.size(2)}, {2 * rows.numel() * size_of(rows.dtype), 0}};
}

}  // namespace

void shift_forward(Ctx& ctx, const ShiftArgs& args, const TensorRef& y, const TensorRef& after) {
    const char* op = "shift_forward";
    const TensorRef& rows = args.x ? args.x : y;
    const DType storage = storage_of(ctx, op, args.x ? "x" : "y", rows), S = accum_of(storage);
    expect_rank(op, args.x ? "x" : "y", rows, 3);
    const int64_t B = rows.size(0), L = rows.size(1), M = rows.size(2);
    if (!args.x && (L != 1 || after)) fail("[{}] x: absent, but {}", op, after ? "its last row is wanted" : "L is not 1");
    if (y) expect_beside(op, "y", y, storage, {B, L, M}, "rows", rows.shape);
    expect_optional(op, "start", args.start, DType::u8, {B, L});
    expect_optional(op, "before", args.before, S, {B, 1, M});
    expect_optional(op, "after", after, S, {B, 1, M});
    run_op(ctx, call_of(op, rows), 0, [=](Ctx& c, void*) {
        if (c.device == Device::cuda) return cuda::shift_forward(c, args, y, after);
        const auto start = args.start.as<const uint8_t, 2>("start");
        if (storage == DType::f64)
            return ref::shift_forward<double>(args.x.as<const double, 3>("x"), start, args.before.as<const double, 3>("before"),
                                              y.as<double, 3>("y"), after.as<double, 3>("after"));
        cpu::shift_forward(*c.pool, args.x.as<const float, 3>("x"), start, args.before.as<const float, 3>("before"),
                           y.as<float, 3>("y"), after.as<float, 3>("after"));
    });
}

void shift_backward(Ctx& ctx, const TensorRef& start, const TensorRef& d_y, const TensorRef& d_x, const TensorRef& d_state) {
    const char* op = "shift_backward";
    const DType storage = storage_of(ctx, op, "d_y", d_y);
    expect_rank(op, "d_y", d_y, 3);
    const int64_t B = d_y.size(0), L = d_y.size(1), M = d_y.size(2);
    expect_beside(op, "d_x", d_x, storage, {B, L, M}, "d_y", d_y.shape);
    expect_optional(op, "start", start, DType::u8, {B, L});
    expect_optional(op, "d_state", d_state, accum_of(storage), {B, 1, M});
    run_op(ctx, call_of(op, d_y), 0, [=](Ctx& c, void*) {
        if (c.device == Device::cuda) return cuda::shift_backward(c, start, d_y, d_x, d_state);
        const auto flags = start.as<const uint8_t, 2>("start");
        if (storage == DType::f64)
            return ref::shift_backward<double>(flags, d_y.as<const double, 3>("d_y"), d_x.as<double, 3>("d_x"),
                                               d_state.as<double, 3>("d_state"));
        cpu::shift_backward(*c.pool, flags, d_y.as<const float, 3>("d_y"), d_x.as<float, 3>("d_x"),
                            d_state.as<float, 3>("d_state"));
    });
}

void group_starts(Ctx& ctx, const TensorRef& start, int64_t every, const TensorRef& groups) {
    const char* op = "group_starts";
    expect_rank(op, "start", start, 2);
    if (every < 1) fail("[{}] every: expected at least 1, got {}", op, every);
    const int64_t B = start.size(0), n = ceil_div(start.size(1), every);
    expect(op, "start", start, DType::u8, start.shape);
    expect_beside(op, "groups", groups, DType::u8, {B, n}, "start", start.shape);
    if (!groups.contiguous()) fail("[{}] groups: expected a contiguous tensor", op);
    run_op(ctx, {op, {B, n}, {2 * B * n, 0}}, 0, [=](Ctx& c, void*) {
        if (c.device == Device::cuda) return cuda::group_starts(c, start, every, groups);
        cpu::group_starts(start.as<const uint8_t, 2>("start"), every, groups.as<uint8_t, 2>("groups"));
    });
}

}  // namespace adder
