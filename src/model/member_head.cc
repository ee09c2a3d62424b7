#include "model/member_head.h"

#include <algorithm>

#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/gemm/gemm.h"

namespace adder {

int64_t logit_slice(int64_t B, int64_t V) {
    constexpr int64_t kRows = 1 << 16, kLogits = 1 << 26;
    const int64_t most = std::min(kRows, kLogits / V) / B;
    int64_t n = 1;
    while (2 * n <= most) n *= 2;
    return n;
}

// Zeros: every class is as likely before the first step, and the classes' rows differ from their first gradient on.
void MemberHead::visit(ParamVisitor& v) {
    v.nested("classifier.", [&] {
        v("weight", weight_, {C_, M_}, {Init::Kind::constant, 0}, kWideMatrix);
        v("bias", bias_, {C_}, {Init::Kind::constant, 0}, kVector);
    });
}

StateSpec MemberHead::state_spec(int64_t B) const {
    if (!has_state()) return {};
    return {{"classifier.pool", {B, M_ + 1}}};
}

PoolArgs MemberHead::pool_args(const Tile& tile, const TensorRef& y, State in) const {
    return {y, tile.start, slot(in), kind_};
}

void MemberHead::forward(Ctx& ctx, const Tile& tile, const TensorRef& y, State in, State out) const {
    if (has_state()) pool_forward(ctx, pool_args(tile, y, in), {}, slot(out));
}

void MemberHead::pool(Ctx& ctx, const Tile& tile, const TensorRef& y, const TensorRef& z, const States& s) const {
    pool_forward(ctx, pool_args(tile, y, s.in), z, slot(s.out));
}

void MemberHead::logits(Ctx& ctx, const TensorRef& z, const TensorRef& logits, int64_t t0) const {
    linear_forward(ctx, {z, weight_.value, bias_.value, t0}, logits);
}

void MemberHead::logits_step(Ctx& ctx, const TensorRef& z, const TensorRef& logits) const {
    linear_step(ctx, {z, weight_.value, bias_.value, 0}, logits);
}

void MemberHead::loss(Ctx& ctx, const Tile& tile, const TensorRef& y, const LossArgs& args, const LossOut& out,
                      const States& states) const {
    const int64_t B = y.size(0), T = y.size(1), S = std::min(logit_slice(B, C_), T);
    const DType accum = accum_of(y.dtype);
    const bool learns = out.d_y || out.head_gradient;
    ArenaScope scope(*ctx.scratch);
    const TensorRef z = ctx.scratch->alloc(accum, {B, T, M_});
    // The maximum alone is read again by backward.
    const TensorRef d_z = out.d_y && kind_ == PoolKind::max ? ctx.scratch->alloc(accum, {B, T, M_}) : z;
    const TensorRef room = ctx.scratch->alloc(accum, {B, S, C_});
    pool(ctx, tile, y, z, states);
    for (int64_t t = 0; t < T; t += S) {
        const int64_t n = std::min(S, T - t), t0 = args.t0 + t;
        const auto part = [&](const TensorRef& x) { return x ? x.slice(1, t, n) : x; };
        // Cross-entropy turns logits into their gradient.
        const TensorRef here(room.data, accum, {B, n, C_}, room.device);
        logits(ctx, part(z), here, t0);
        cross_entropy(ctx, {here, part(args.targets), part(args.weights), -1, t0},
                      {out.sums, part(out.nats), learns ? here : TensorRef{}, out.add_sums || t > 0});
        if (!learns) continue;
        linear_backward_weight(ctx, {part(z), {}, bias_.value, t0}, here, weight_.grad, bias_.grad);
        if (out.d_y) linear_backward_input(ctx, {{}, weight_.value, {}, t0}, here, part(d_z), false);
    }
    if (out.d_y) pool_backward(ctx, pool_args(tile, y, states.in), z, {d_z, out.d_y, slot(states.d)});
}

}  // namespace adder
