#include "kernels/embedding/embedding.h"

#include <algorithm>

#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/embedding/embedding_cpu.h"
#include "kernels/embedding/embedding_cuda.h"
#include "kernels/embedding/embedding_ref.h"

namespace adder {

namespace {

// Throws Error unless every id is below V; nothing has been written by then.
void check_ids(const char* op, const View<const uint16_t, 2>& ids, int64_t V) {
    const int64_t B = ids.shape[0], L = ids.shape[1];
    for (int64_t b = 0; b < B && L > 0; ++b) {
        const uint16_t* row = &ids(b, 0);
        uint16_t largest = 0;
        for (int64_t t = 0; t < L; ++t) largest = std::max(largest, row[t]);
        if (largest < V) continue;
        const int64_t t = std::find_if(row, row + L, [V](uint16_t id) { return id >= V; }) - row;
        fail("[{}] ids: expected ids below V = {}, got {} in row {} at step {}", op, V, row[t], b, t);
    }
}

OpCall call_of(const char* op, const TensorRef& y, int64_t V, int64_t passes, int64_t flops) {
    const int64_t B = y.size(0), L = y.size(1), M = y.size(2);
    return {
        op, {B, L, M, V}, {B * L * (size_of(DType::u16) + passes * M * size_of(y.dtype)), B * L * M * flops}};
}

}  // namespace

void embedding_forward(Ctx& ctx, const TensorRef& ids, const TensorRef& weight, const TensorRef& y) {
    const char* op = "embedding_forward";
    const DType storage = storage_of(ctx, op, "weight", weight);
    expect_rank(op, "ids", ids, 2);
    expect_rank(op, "weight", weight, 2);
    const int64_t B = ids.size(0), L = ids.size(1), V = weight.size(0), M = weight.size(1);
    expect(op, "ids", ids, DType::u16, {B, L});
    if (y.dtype != storage || y.shape != Shape({B, L, M}))
        fail("[{}] y: expected {} {} for a weight of {}, got {}", op, name_of(storage), to_string({B, L, M}),
             to_string(weight.shape), describe(y));
    run_op(ctx, call_of(op, y, V, 2, 0), 0, [=](Ctx& c, void*) {
        if (c.device == Device::cuda) return cuda::embedding_forward(c, ids, weight, y);
        const auto tokens = ids.as<const uint16_t, 2>("ids");
        check_ids("embedding_forward", tokens, V);
        if (storage == DType::f64)
            return ref::embedding_forward<double>(tokens, weight.as<const double, 2>("weight"),
                                                  y.as<double, 3>("y"));
        cpu::embedding_forward(*c.pool, tokens, weight.as<const float, 2>("weight"), y.as<float, 3>("y"));
    });
}

void embedding_backward(Ctx& ctx, const TensorRef& ids, const TensorRef& d_y, int64_t t0,
                        const TensorRef& d_weight) {
    const char* op = "embedding_backward";
    const DType storage = storage_of(ctx, op, "d_y", d_y);
    expect_rank(op, "d_y", d_y, 3);
    expect_rank(op, "d_weight", d_weight, 2);
    const int64_t B = d_y.size(0), L = d_y.size(1), M = d_y.size(2), V = d_weight.size(0);
    expect(op, "ids", ids, DType::u16, {B, L});
    expect(op, "d_weight", d_weight, accum_of(storage), {V, M});
    const int64_t scratch_bytes = ctx.device == Device::cuda ? cuda::embedding_backward_scratch_bytes(B, L, V, M)
                                  : storage == DType::f64    ? 0
                                                             : cpu::embedding_backward_scratch_bytes(B, L, V, M);
    run_op(ctx, call_of(op, d_y, V, 1, 1), scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::embedding_backward(c, ids, d_y, d_weight, scratch);
        const auto tokens = ids.as<const uint16_t, 2>("ids");
        check_ids("embedding_backward", tokens, V);
        if (storage == DType::f64)
            return ref::embedding_backward<double>(tokens, d_y.as<const double, 3>("d_y"),
                                                   d_weight.as<double, 2>("d_weight"));
        cpu::embedding_backward(*c.pool, tokens, d_y.as<const float, 3>("d_y"), t0,
                                d_weight.ptr<float>("d_weight"), V, static_cast<float*>(scratch));
    });
}

}  // namespace adder
