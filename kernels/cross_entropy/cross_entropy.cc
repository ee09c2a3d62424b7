#include "kernels/cross_entropy/cross_entropy.h"

#include <algorithm>

#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/cross_entropy/cross_entropy_cpu.h"
#include "kernels/cross_entropy/cross_entropy_cuda.h"
#include "kernels/cross_entropy/cross_entropy_ref.h"

namespace adder {

namespace {

// Throws Error naming the first weight that is no number >= 0, or the first target outside the vocabulary whose weight is
// not 0.
void check_tokens(View<const uint16_t, 2> targets, View<const float, 2> weights,
                   const CrossEntropyArgs& args) {
    const int64_t B = targets.shape[0], L = targets.shape[1], V = args.logits.size(2);
    for (int64_t b = 0; b < B; ++b) {
        const uint16_t* row = &targets(b, 0);
        for (int64_t t = 0; weights && t < L; ++t)
            if (!(weights(b, t) >= 0) && row[t] != args.ignore_index)
                fail("[cross_entropy] weights: expected numbers >= 0, got {} in row {} at position {}", weights(b, t), b,
                     args.t0 + t);
        uint16_t largest = 0;
        for (int64_t t = 0; t < L; ++t) largest = std::max(largest, row[t]);
        if (largest < V) continue;
        for (int64_t t = 0; t < L; ++t)
            if (row[t] >= V && row[t] != args.ignore_index && (!weights || weights(b, t) != 0))
                fail(
                    "[cross_entropy] targets: expected less than V = {} where the weight is not 0, got {} in "
                    "row {} "
                    "at position {}",
                    V, row[t], b, args.t0 + t);
    }
}

}  // namespace

void cross_entropy(Ctx& ctx, const CrossEntropyArgs& args, const CrossEntropyOut& out) {
    const char* op = "cross_entropy";
    const DType S = accum_of(storage_of(ctx, op, "logits", args.logits));
    expect_rank(op, "logits", args.logits, 3);
    const int64_t B = args.logits.size(0), L = args.logits.size(1), V = args.logits.size(2);
    const bool cuda = ctx.device == Device::cuda;
    expect(op, "logits", args.logits, S, {B, L, V});
    expect(op, "targets", args.targets, DType::u16, {B, L});
    expect_optional(op, "weights", args.weights, DType::f32, {B, L});
    expect(op, "sums", out.sums, DType::f64, {2});
    expect_optional(op, "nats", out.nats, DType::f64, {B, L});
    const bool narrow = cuda && out.d_logits.dtype == DType::bf16;
    expect_optional(op, "d_logits", out.d_logits, narrow ? DType::bf16 : S, {B, L, V});
    const int64_t n = B * L * V, item = size_of(S);
    const int64_t scratch_bytes = cuda               ? cuda::cross_entropy_scratch_bytes(B, L, V)
                                  : S == DType::f64 ? 0
                                                     : cpu::cross_entropy_scratch_bytes(B, L);
    const int64_t written = out.d_logits ? size_of(out.d_logits.dtype) : 0;
    const OpCall call{op, {B, L, V}, {n * (item + written), n * (out.d_logits ? 5 : 4)}};
    run_op(ctx, call, scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::cross_entropy(c, args, out, scratch);
        const auto targets = args.targets.as<const uint16_t, 2>("targets");
        const auto weights = args.weights.as<const float, 2>("weights");
        const auto sums = out.sums.as<double, 1>("sums");
        const auto nats = out.nats.as<double, 2>("nats");
        check_tokens(targets, weights, args);
        const double loss = out.add_sums ? sums(0) : 0, weight = out.add_sums ? sums(1) : 0;
        if (S == DType::f64) {
            ref::cross_entropy<double>(args.logits.as<const double, 3>("logits"), targets, weights, args.ignore_index,
                                       sums, nats, out.d_logits.as<double, 3>("d_logits"));
        } else {
            const cpu::CrossEntropyRows rows{
                args.logits.as<const float, 3>("logits"), targets, weights, args.ignore_index, args.t0, nats,
                out.d_logits.as<float, 3>("d_logits")};
            cpu::cross_entropy(*c.pool, rows, sums, scratch);
        }
        if (out.add_sums) sums(0) += loss, sums(1) += weight;
    });
}

}  // namespace adder
