#include "model/session.h"

#include <algorithm>
#include <cstring>

#include "core/ceil_div.h"
#include "model/tile_step.h"

namespace adder {

namespace {

// Tiles that may be under way to a GPU.
constexpr size_t kLetters = 2;

GraphCache::Key key_of(const TokenRows& in, bool scored) {
    return {in.first, in.count, in.n, (scored ? 2 : 0) + (in.start ? 1 : 0)};
}
GraphCache::Key step_key(int64_t phase) { return {-1, phase, 0, 0}; }

template <class T>
void copy_rows(const T* from, int64_t stride, const TensorRef& to) {
    if (!from) return;
    T* at = to.ptr<T>("tokens");
    for (int64_t r = 0; r < to.size(0); ++r) std::copy_n(from + r * stride, to.size(1), at + r * to.size(1));
}

}  // namespace

Session::Session(LanguageModel& model, const Compute& compute, int64_t B, int64_t T, int64_t at_once)
    : model_(model), compute_(compute), B_(B), stride_(model.backbone().stride()), T_(ceil_div(T, stride_) * stride_),
      at_once_(std::min(at_once, B)), phases_(static_cast<size_t>(B)), scratch_(compute.device, "scratch"), ctx_(compute.context(scratch_)),
      state_(model.backbone().state_spec(B), compute.accum(), 1, compute.device),
      logits_(compute.accum(), {B, 1, model.vocab()}, compute.device, "logits"),
      step_ids_(DType::u16, {B, 1}, compute.device, "a step's tokens"), sums_(DType::f64, {2}, compute.device) {
    TokenRows largest;
    largest.count = at_once_;
    largest.n = T_;
    const uint8_t flag = 0;
    largest.start = &flag;
    ctx_.dry_run = true;
    give_step(stride_ - 1);  // all stages
    ctx_.dry_run = false;
    plan(largest, false);
    plan(largest, true);
    if (compute.device == Device::cpu) return;
    tokens_ = Tensor(DType::u8, {TokenTile::bytes(at_once_, T_)}, compute.device, "a tile's tokens");
    nats_ = Tensor(DType::f64, {at_once_, T_}, compute.device, "a tile's scores");
    letters_.resize(kLetters);
    for (Letter& l : letters_) {
        l.tokens = PinnedMemory(tokens_.ref().bytes(), "a tile's tokens");
        l.nats = PinnedMemory(nats_.ref().bytes(), "a tile's scores");
        l.ids = PinnedMemory(step_ids_.ref().bytes(), "a step's tokens");
    }
}

// A shape that was not seen before may take another path inside an op, which needs more scratch.
void Session::plan(const TokenRows& in, bool scored) {
    if (!planned_.insert({0, in.count, in.n, key_of(in, scored)[3]}).second) return;
    Arena count(compute_.device, "scratch");
    const Ctx run = ctx_;
    ctx_ = compute_.context(count, true);
    const TensorRef nats = scored ? TensorRef(nullptr, DType::f64, {in.count, in.n}, compute_.device) : TensorRef{};
    TokenTile tokens = TokenTile::at(nullptr, compute_.device, in.count, in.n);
    compute_tile(in, tokens, nats);
    ctx_ = run;
    const int64_t need = std::max(count.peak_bytes(), scratch_.counting() ? scratch_.peak_bytes() : 0);
    if (!scratch_.counting() && need <= scratch_.capacity_bytes()) return;
    if (ctx_.gpu) ctx_.gpu->synchronize();
    graphs_.clear();
    scratch_.bind(need);
}

int64_t Session::bytes() const {
    int64_t sum = scratch_.capacity_bytes() + state_.bytes();
    for (const Tensor* t : {&logits_, &step_ids_, &sums_, &tokens_, &nats_})
        if (t->ref()) sum += t->ref().bytes();
    return sum;
}

void Session::reset(int64_t row) {
    for (const TensorRef& slot : state_row(state_[0], row, row_slots_)) fill_zero(ctx_, slot);
    phases_[static_cast<size_t>(row)] = 0;
}

void Session::copy_row(int64_t from, int64_t to) {
    const State a = state_row(state_[0], from, row_slots_), b = state_row(state_[0], to, other_slots_);
    for (size_t i = 0; i < a.size(); ++i) copy(ctx_, a[i], b[i]);
    phases_[static_cast<size_t>(to)] = phases_[static_cast<size_t>(from)];
}

int64_t Session::phase() const {
    for (int64_t p : phases_) CHECK(p == phases_[0]);
    return phases_[0];
}

void Session::advance(int64_t first, int64_t rows, int64_t tokens) {
    for (int64_t b = first; b < first + rows; ++b) {
        int64_t& p = phases_[static_cast<size_t>(b)];
        p = (p + tokens) % stride_;
    }
}

void Session::compute_tile(const TokenRows& in, const TokenTile& tokens, const TensorRef& nats) {
    // Ops on a GPU get positions inside the tile, for recorded work knows no others.
    int64_t t0 = compute_.device == Device::cuda ? 0 : in.t0;
    if (ctx_.dry_run) t0 = kPlanningPosition;
    const Tile tile{{in.count, in.n}, t0, in.start ? tokens.start : TensorRef{}};
    const State state = state_row(state_[0], in.first, row_slots_, in.count);
    TileStep{model_, ctx_, compute_.storage}.score(tile, tokens, sums_, nats, state);
}

void Session::run_tile(const TokenRows& in, double* nats) {
    CHECK(in.n >= 1 && in.n <= T_ && in.count >= 1 && in.count <= at_once_ && in.first + in.count <= B_);
    for (int64_t b = in.first; b < in.first + in.count; ++b) CHECK(phases_[static_cast<size_t>(b)] == 0);
    advance(in.first, in.count, in.n);
    plan(in, nats != nullptr);
    if (compute_.device == Device::cuda) return run_on_gpu(in, nats);
    const auto wrap = [&](const void* p, DType dtype) {
        if (!p) return TensorRef{};
        TensorRef t(const_cast<void*>(p), dtype, {in.count, in.n});
        if (in.count > 1) t.stride[0] = in.stride;
        return t;
    };
    compute_tile(in,
                 {wrap(in.ids, DType::u16), wrap(in.targets, DType::u16), wrap(in.weights, DType::f32),
                  wrap(in.start, DType::u8)},
                 wrap(nats, DType::f64));
}

void Session::run_on_gpu(const TokenRows& in, double* nats) {
    Letter& letter = letters_[next_letter_];
    next_letter_ = (next_letter_ + 1) % letters_.size();
    deliver(letter);
    CUstream_st* stream = ctx_.gpu->stream();
    const TokenTile here = TokenTile::at(letter.tokens.data(), Device::cpu, in.count, in.n);
    copy_rows(in.ids, in.stride, here.ids);
    copy_rows(in.targets, in.stride, here.targets);
    copy_rows(in.weights, in.stride, here.weights);
    copy_rows(in.start, in.stride, here.start);
    copy_async(tokens_.ref().data, letter.tokens.data(), TokenTile::bytes(in.count, in.n), stream);
    const TokenTile tokens = TokenTile::at(tokens_.ref().data, Device::cuda, in.count, in.n);
    const TensorRef scores = nats ? TensorRef(nats_.ref().data, DType::f64, {in.count, in.n}, Device::cuda) : TensorRef{};
    graphs_.run(ctx_, key_of(in, nats != nullptr), [&] { compute_tile(in, tokens, scores); });
    if (nats) copy_async(letter.nats.data(), scores.data, scores.bytes(), stream);
    letter.done.record(stream);
    letter.to = nats;
    letter.count = in.count;
    letter.n = in.n;
    letter.stride = in.stride;
}

// Waits until the letter may be used again and hands out the scores that came with it.
void Session::deliver(Letter& letter) {
    letter.done.synchronize();
    if (!letter.to) return;
    const auto* from = letter.nats.as<double>();
    for (int64_t r = 0; r < letter.count; ++r) std::copy_n(from + r * letter.n, letter.n, letter.to + r * letter.stride);
    letter.to = nullptr;
}

void Session::finish() {
    // The oldest first, so that a place that was scored twice holds the later scores.
    for (size_t i = 0; i < letters_.size(); ++i) deliver(letters_[(next_letter_ + i) % letters_.size()]);
    if (ctx_.gpu) ctx_.gpu->synchronize();
}

void Session::read(const TokenRows& in) { run_tile(in, nullptr); }

void Session::score(const TokenRows& in, double* nats) { run_tile(in, nats); }

void Session::give_step(int64_t phase) {
    ArenaScope scope(*ctx_.scratch);
    const Shape shape{B_, 1, model_.config().d_model};
    const TensorRef x = ctx_.scratch->alloc(compute_.storage, shape), y = ctx_.scratch->alloc(compute_.storage, shape);
    model_.embed(ctx_, step_ids_, x);
    model_.backbone().step(ctx_, x, y, state_[0], phase);
    model_.logits_step(ctx_, y, logits_);
}

TensorRef Session::step(const uint16_t* ids) {
    const auto bytes = static_cast<size_t>(step_ids_.ref().bytes());
    const int64_t at = phase();
    advance(0, B_, 1);
    if (compute_.device == Device::cpu) {
        std::memcpy(step_ids_.ref().data, ids, bytes);
        give_step(at);
        return logits();
    }
    Letter& letter = letters_[next_letter_];
    next_letter_ = (next_letter_ + 1) % letters_.size();
    deliver(letter);
    std::memcpy(letter.ids.data(), ids, bytes);
    copy_async(step_ids_.ref().data, letter.ids.data(), step_ids_.ref().bytes(), ctx_.gpu->stream());
    graphs_.run(ctx_, step_key(at), [&] { give_step(at); });
    letter.done.record(ctx_.gpu->stream());
    return logits();
}

}  // namespace adder
