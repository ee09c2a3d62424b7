#include "kernels/batch/unpack_batch.h"

#include <algorithm>

#include "kernels/batch/unpack_batch_cpu.h"
#include "kernels/batch/unpack_batch_cuda.h"
#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"

namespace adder {

namespace {

void check_out(const char* name, const TensorRef& t, DType dtype, const Shape& shape) {
    expect("unpack_batch", name, t, dtype, shape);
    if (!t.contiguous()) fail("[unpack_batch] {}: expected a contiguous tensor", name);
}

}  // namespace

void unpack_batch(Ctx& ctx, const PackedBatch& batch, int64_t t0, const TokenTile& out) {
    const char* op = "unpack_batch";
    expect_rank(op, "flags", batch.flags, 2);
    expect_rank(op, "ids", out.ids, 2);
    const int64_t B = batch.B(), L = batch.L();
    if (t0 < 0 || t0 >= L) fail("[{}] steps from {} on of a batch of {}", op, t0, L);
    const int64_t T = std::min(out.ids.size(1), L - t0);  // more is a wrong shape of ids
    const bool wide = batch.tokens.dtype == DType::u16;
    expect(op, "tokens", batch.tokens, wide ? DType::u16 : DType::u8, {B, L});
    expect(op, "targets", batch.targets, batch.tokens.dtype, {B, L});
    expect(op, "flags", batch.flags, DType::u8, {B, L});
    expect(op, "palette", batch.palette, DType::f32, {PackedBatch::kWeights});
    check_out("ids", out.ids, DType::u16, {B, T});
    check_out("targets", out.targets, DType::u16, {B, T});
    check_out("weights", out.weights, DType::f32, {B, T});
    check_out("start", out.start, DType::u8, {B, T});
    const OpCall call{op, {B, T}, {B * T * (2 * size_of(batch.tokens.dtype) + 1 + 2 + 2 + 4 + 1), 0}};
    run_op(ctx, call, 0, [=](Ctx& c, void*) {
        if (c.device == Device::cuda) return cuda::unpack_batch(c, batch, t0, out);
        cpu::unpack_batch(batch, t0, out);
    });
}

}  // namespace adder
