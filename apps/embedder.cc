#include "apps/embedder.h"

#include <algorithm>

namespace adder {

Embedder::Embedder(LanguageModel& model, const Compute& compute, int64_t B, int64_t L, int64_t T)
    : model_(model), compute_(compute), B_(B), L_(L), T_(std::min(T, L)), scratch_(compute.device, "scratch"),
      ctx_(compute.context(scratch_)), state_(model.backbone().state_spec(B), compute.accum(), 1, compute.device),
      y_(compute.storage, {B, T_, model.config().d_model}, compute.device, "embeddings") {
    ctx_ = compute.context(scratch_, true);
    // A shorter last tile may take another path inside an op.
    for (const int64_t n : {T_, L % T_ > 0 ? L % T_ : T_})
        compute_tile(TensorRef(nullptr, DType::u16, {B, n}, compute.device), compute.device == Device::cpu ? kPlanningPosition : 0);
    ctx_ = compute.context(scratch_);
    scratch_.bind(scratch_.peak_bytes());
    if (compute.device == Device::cpu) return;
    tokens_ = Tensor(DType::u16, {B, T_}, compute.device, "a tile's tokens");
    letters_.resize(2);
    for (Letter& l : letters_) l.ids = PinnedMemory(tokens_.ref().bytes());
}

int64_t Embedder::bytes() const { return scratch_.capacity_bytes() + y_.ref().bytes() + state_.bytes(); }

void Embedder::compute_tile(const TensorRef& ids, int64_t t0) {
    ArenaScope scope(*ctx_.scratch);
    const int64_t n = ids.size(1);
    const Shape shape{B_, n, model_.config().d_model};
    const TensorRef x = ctx_.scratch->alloc(compute_.storage, shape);
    const TensorRef y(y_.ref().data, compute_.storage, shape, compute_.device);
    model_.embed(ctx_, ids, x);
    model_.backbone().forward(ctx_, {{B_, n}, t0, {}}, x, y, state_[0], state_[0], nullptr);
}

// The tokens of a tile where ops find them.
TensorRef Embedder::send(const uint16_t* ids, int64_t t0, int64_t n) {
    if (compute_.device == Device::cpu) {
        TensorRef tile(const_cast<uint16_t*>(ids + t0), DType::u16, {B_, n});
        tile.stride[0] = L_;
        return tile;
    }
    Letter& letter = letters_[next_letter_];
    next_letter_ = 1 - next_letter_;
    letter.sent.synchronize();
    auto* to = letter.ids.as<uint16_t>();
    for (int64_t b = 0; b < B_; ++b) std::copy_n(ids + b * L_ + t0, n, to + b * n);
    copy_async(tokens_.ref().data, to, B_ * n * size_of(DType::u16), ctx_.gpu->stream());
    letter.sent.record(ctx_.gpu->stream());
    return {tokens_.ref().data, DType::u16, {B_, n}, Device::cuda};
}

void Embedder::run(const uint16_t* ids) {
    state_.zero(ctx_, 0);
    for (int64_t t0 = 0; t0 < L_; t0 += T_) {
        const TensorRef tile = send(ids, t0, std::min(T_, L_ - t0));
        graphs_.run(ctx_, {tile.size(1), 0, 0, 0}, [&] { compute_tile(tile, compute_.device == Device::cpu ? t0 : 0); });
    }
}

}  // namespace adder
