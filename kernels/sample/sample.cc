#include "kernels/sample/sample.h"

#include <cmath>

#include "core/rng.h"
#include "kernels/common/run_op.h"
#include "kernels/common/storage.h"
#include "kernels/sample/sample_cuda.h"
#include "kernels/sample/sample_ref.h"

namespace adder {

namespace {

constexpr int64_t kMostTokens = 65536;  // ids are u16

void sample_on_cpu(const SampleArgs& args, const SampleRows& rows, uint16_t* order) {
    const Philox random(args.seed, Stream::sample);
    const auto *position = rows.position.ptr<const int64_t>("position"), *end = rows.end.ptr<const int64_t>("end"),
               *record = rows.record.ptr<const int64_t>("record");
    auto* new_position = rows.new_position.ptr<int64_t>("new_position");
    auto* next = rows.next.ptr<uint16_t>("next");
    const View<uint16_t, 2> tokens = rows.tokens.as<uint16_t, 2>("tokens");
    const int64_t B = args.logits.size(0), V = args.logits.size(1);
    for (int64_t b = 0; b < B; ++b) {
        const int64_t at = position[b];
        new_position[b] = at;
        if (at >= end[b]) continue;
        const double u = random.uniform(static_cast<uint64_t>(at), static_cast<uint32_t>(record[b]));
        const TensorRef logits = args.logits.slice(0, b, 1).reshape({V});
        const TensorRef allowed = args.allowed.slice(0, at % args.allowed.size(0), 1).reshape({V});
        next[b] = draw_token(logits, allowed, args.rule, u, order);
        if (tokens) tokens(b, at % tokens.shape[1]) = next[b];
        new_position[b] = at + 1;
    }
}

}  // namespace

void check(const SampleRule& rule) {
    if (!(rule.temperature >= 0) || !std::isfinite(rule.temperature))
        fail("[sample] temperature: {} is not a number >= 0", rule.temperature);
    if (rule.top_k < 0) fail("[sample] top-k: {} is negative; 0 turns it off", rule.top_k);
    if (!(rule.top_p >= 0 && rule.top_p <= 1)) fail("[sample] top-p: {} is outside 0 to 1", rule.top_p);
}

uint16_t draw_token(const TensorRef& logits, const TensorRef& allowed, const SampleRule& rule, double u, uint16_t* order) {
    const View<const uint8_t, 1> mask = allowed.as<const uint8_t, 1>("allowed");
    if (logits.dtype == DType::f64)
        return ref::draw_token<double>(logits.as<const double, 1>("logits"), mask, rule, u, order);
    return ref::draw_token<float>(logits.as<const float, 1>("logits"), mask, rule, u, order);
}

void sample(Ctx& ctx, const SampleArgs& args, const SampleRows& rows) {
    const char* op = "sample";
    check(args.rule);
    const DType S = accum_of(storage_of(ctx, op, "logits", args.logits));
    expect_rank(op, "logits", args.logits, 2);
    const int64_t B = args.logits.size(0), V = args.logits.size(1);
    expect(op, "logits", args.logits, S, {B, V});
    if (V < 1 || V > kMostTokens) fail("[sample] logits: expected 1 to {} tokens, got {}", kMostTokens, describe(args.logits));
    expect_rank(op, "allowed", args.allowed, 2);
    expect(op, "allowed", args.allowed, DType::u8, {args.allowed.size(0), V});
    if (args.allowed.size(0) < 1) fail("[sample] allowed: expected a row at least, got {}", describe(args.allowed));
    expect(op, "position", rows.position, DType::i64, {B});
    expect(op, "end", rows.end, DType::i64, {B});
    expect(op, "record", rows.record, DType::i64, {B});
    expect(op, "new_position", rows.new_position, DType::i64, {B});
    expect(op, "next", rows.next, DType::u16, {B});
    if (rows.tokens) {
        expect_rank(op, "tokens", rows.tokens, 2);
        expect(op, "tokens", rows.tokens, DType::u16, {B, rows.tokens.size(1)});
    }
    const bool cuda = ctx.device == Device::cuda;
    const int64_t scratch_bytes = cuda ? cuda::sample_scratch_bytes(B, V) : V * size_of(DType::u16);
    run_op(ctx, {op, {B, V}, {B * V * size_of(S), B * V * 4}}, scratch_bytes, [=](Ctx& c, void* scratch) {
        if (c.device == Device::cuda) return cuda::sample(c, args, rows, scratch);
        sample_on_cpu(args, rows, static_cast<uint16_t*>(scratch));
    });
}

}  // namespace adder
