#include "core/ctx.h"

namespace adder {

namespace {

// Rows of the innermost dimension as (rows, row bytes, pitch) where all dimensions but the last step evenly.
struct Rows {
    int64_t count = 0, bytes = 0, pitch = 0;
    bool even = false;
};

Rows rows_of(const TensorRef& t) {
    const int64_t item = size_of(t.dtype);
    if (t.contiguous()) return {1, t.bytes(), t.bytes(), true};
    const int last = t.rank() - 1;
    CHECK(last >= 1 && (t.size(last) <= 1 || t.stride[static_cast<size_t>(last)] == 1));
    Rows r{1, t.size(last) * item, t.stride[static_cast<size_t>(last - 1)] * item, true};
    for (int d = last - 1; d >= 0; --d) {
        if (d < last - 1 && t.size(d) > 1 && t.stride[static_cast<size_t>(d)] * item != r.pitch * r.count) r.even = false;
        r.count *= t.size(d);
    }
    return r;
}

}  // namespace

Ctx Compute::context(Arena& scratch, bool dry_run) const {
    Ctx ctx;
    ctx.device = device;
    ctx.pool = pool;
    ctx.scratch = &scratch;
    ctx.dry_run = dry_run;
    if (device == Device::cuda && !dry_run) {
        CHECK(gpu);
        ctx.gpu = gpu;
    }
    return ctx;
}

void copy(const Ctx& ctx, const TensorRef& from, const TensorRef& to) {
    if (ctx.dry_run) return;
    if (ctx.device == Device::cpu) return copy(from, to);
    CHECK(from.dtype == to.dtype && from.shape == to.shape);
    if (from.numel() == 0) return;
    if (from.contiguous() && to.contiguous()) return copy_async(to.data, from.data, from.bytes(), ctx.gpu->stream());
    const int last = from.rank() - 1;
    const int64_t item = size_of(from.dtype), bytes = from.size(last) * item;
    const Rows a = rows_of(from), b = rows_of(to);
    if (a.even && b.even && from.rank() > 1) {
        // A contiguous side has the rows of the other one.
        const int64_t rows = from.numel() / from.size(last);
        return copy_rows_async(to.data, to.contiguous() ? bytes : b.pitch, from.data, from.contiguous() ? bytes : a.pitch,
                               bytes, rows, ctx.gpu->stream());
    }
    for (int64_t i = 0; i < from.size(0); ++i) {
        TensorRef x = from.slice(0, i, 1), y = to.slice(0, i, 1);
        for (int d = 0; d + 1 < x.rank(); ++d) {
            x.shape.dim[static_cast<size_t>(d)] = x.shape.dim[static_cast<size_t>(d + 1)];
            y.shape.dim[static_cast<size_t>(d)] = y.shape.dim[static_cast<size_t>(d + 1)];
            x.stride[static_cast<size_t>(d)] = x.stride[static_cast<size_t>(d + 1)];
            y.stride[static_cast<size_t>(d)] = y.stride[static_cast<size_t>(d + 1)];
        }
        x.shape.dim[static_cast<size_t>(--x.shape.rank)] = 0;
        y.shape.dim[static_cast<size_t>(--y.shape.rank)] = 0;
        copy(ctx, x, y);
    }
}

void fill_zero(const Ctx& ctx, const TensorRef& t) {
    if (ctx.dry_run) return;
    if (ctx.device == Device::cpu) return fill_zero(t);
    CHECK(t.contiguous());
    zero_async(t.data, t.bytes(), ctx.gpu->stream());
}

}  // namespace adder
