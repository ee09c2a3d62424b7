#include "model/embedder.h"

#include <algorithm>

namespace adder {

namespace {
// Tiles that may be under way to a GPU.
constexpr size_t kLetters = 2;
}  // namespace

// Page-locked memory of a tile on its way to a GPU and of its outputs on their way back, and where they stand
// until then.
struct Embedder::Letter {
    PinnedMemory ids, start, outputs;
    Tensor on_device;
    Event computed, done;
    int64_t tile = 0, count = 0, n = 0;
    bool full = false;
};

// Hands the streams that are wanted to `give`, each as output `index`.
class Embedder::Tap final : public LayerTap {
  public:
    Tap(const EmbedderOutputs& outputs, std::function<void(int64_t index, const TensorRef&)> give)
        : outputs_(outputs), give_(std::move(give)) {}

    bool take(Ctx& ctx, int64_t blocks, const TensorRef& stream) override {
        const auto& wanted = outputs_.streams;
        const auto at = std::find(wanted.begin(), wanted.end(), blocks);
        if (at != wanted.end() && !ctx.dry_run) give_(at - wanted.begin(), stream);
        return !wanted.empty() && blocks < wanted.back();
    }
    void normed(Ctx& ctx, const TensorRef& y) {
        if (outputs_.normed && !ctx.dry_run) give_(outputs_.count() - 1, y);
    }

  private:
    const EmbedderOutputs& outputs_;
    std::function<void(int64_t, const TensorRef&)> give_;
};

Embedder::Embedder(LanguageModel& model, const Compute& compute, int64_t B, int64_t T,
                   EmbedderOutputs outputs, Take take)
    : model_(model),
      compute_(compute),
      B_(B),
      T_(T),
      outputs_(std::move(outputs)),
      take_(std::move(take)),
      scratch_(compute.device, "scratch"),
      ctx_(compute.context(scratch_)),
      state_(model.backbone().state_spec(B), compute.accum(), 1, compute.device) {
    const int64_t blocks = model.backbone().shown_blocks();
    for (const int64_t k : outputs_.streams)
        if (k < 0 || k > blocks) fail("[embedder] layer: expected 0 to {}, got {}", blocks, k);
    CHECK(outputs_.count() > 0 && B >= 1 && B <= T);
    TokenRows largest;
    const uint8_t flag = 0;
    largest.start = &flag;
    for (const int64_t rows : {int64_t{1}, B}) {
        largest.count = rows;
        largest.n = T / rows;
        plan(largest);
    }
    if (compute.device == Device::cpu) return;
    ids_ = Tensor(DType::u16, {T}, compute.device, "a tile's tokens");
    start_ = Tensor(DType::u8, {T}, compute.device, "a tile's starts");
    letters_.resize(kLetters);
    for (Letter& l : letters_) {
        l.ids = PinnedMemory(ids_.ref().bytes(), "a tile's tokens");
        l.start = PinnedMemory(start_.ref().bytes(), "a tile's starts");
        if (!take_) continue;
        const TensorRef last = output(l, outputs_.count() - 1, 1, T, true);
        const int64_t bytes =
            static_cast<char*>(last.data) - static_cast<char*>(l.outputs.data()) + last.bytes();
        l.outputs = PinnedMemory(bytes, "embeddings of a tile");
        l.on_device = Tensor(DType::u8, {bytes}, compute.device, "embeddings of a tile");
    }
}

Embedder::~Embedder() {
    // The device may still be at work on memory that is about to go.
    for (Letter& l : letters_) {
        try {
            l.done.synchronize();
        } catch (const Error&) {
        }
    }
}

int64_t Embedder::bytes() const {
    int64_t n = scratch_.capacity_bytes() + state_.bytes();
    for (const Letter& l : letters_)
        if (l.on_device.ref()) n += l.on_device.ref().bytes();
    return n;
}

void Embedder::reset() {
    state_.zero(ctx_, 0);
}

// Where output `index` of a tile stands among the outputs of the largest.
TensorRef Embedder::output(const Letter& letter, int64_t index, int64_t count, int64_t n,
                           bool on_host) const {
    const bool normed = outputs_.normed && index + 1 == outputs_.count();
    const int64_t M = model_.config().d_model;
    auto* base = static_cast<char*>(on_host ? letter.outputs.data() : letter.on_device.ref().data);
    base += index * T_ * M * size_of(compute_.accum());
    return {base,
            normed ? compute_.storage : compute_.accum(),
            {count, n, M},
            on_host ? Device::cpu : compute_.device};
}

// A shape that was not seen before may take another path inside an op, which needs more scratch.
void Embedder::plan(const TokenRows& in) {
    if (!planned_.insert({in.count, in.n, in.start != nullptr, 0}).second) return;
    Arena count(compute_.device, "scratch");
    const Ctx run = ctx_;
    ctx_ = compute_.context(count, true);
    Tap tap(outputs_, {});
    compute_tile(in, {nullptr, DType::u16, {in.count, in.n}, compute_.device},
                 {nullptr, DType::u8, {in.count, in.n}, compute_.device}, tap);
    ctx_ = run;
    const int64_t need = std::max(count.peak_bytes(), scratch_.counting() ? 0 : scratch_.capacity_bytes());
    if (!scratch_.counting() && need <= scratch_.capacity_bytes()) return;
    if (ctx_.gpu) ctx_.gpu->synchronize();
    graphs_.clear();
    scratch_.bind(need);
}

void Embedder::compute_tile(const TokenRows& in, const TensorRef& ids, const TensorRef& start, Tap& tap) {
    ArenaScope scope(*ctx_.scratch);
    const Shape shape{in.count, in.n, model_.config().d_model};
    // Ops on a GPU get positions inside the tile, for recorded work knows no others.
    int64_t t0 = compute_.device == Device::cuda ? 0 : in.t0;
    if (ctx_.dry_run) t0 = kPlanningPosition;
    const State state = state_row(state_[0], 0, row_slots_, in.count);
    const TensorRef x = ctx_.scratch->alloc(compute_.storage, shape);
    const bool to_the_end = outputs_.normed || outputs_.streams.back() == model_.backbone().shown_blocks();
    const TensorRef y = to_the_end ? ctx_.scratch->alloc(compute_.storage, shape) : TensorRef{};
    model_.embed(ctx_, ids, x);
    Ctx tapped = ctx_;
    if (!outputs_.streams.empty()) tapped.tap = &tap;
    model_.backbone().forward(tapped, {{in.count, in.n}, t0, in.start ? start : TensorRef{}}, x, y, state,
                              state, nullptr);
    if (y) tap.normed(ctx_, y);
}

void Embedder::run(const TokenRows& in, int64_t tile) {
    CHECK(in.n >= 1 && in.count * in.n <= T_ && in.first == 0 && in.count >= 1 && in.count <= B_);
    plan(in);
    if (compute_.device == Device::cuda) return run_on_gpu(in, tile);
    const auto wrap = [&](const void* p, DType dtype) {
        if (!p) return TensorRef{};
        TensorRef t(const_cast<void*>(p), dtype, {in.count, in.n});
        if (in.count > 1) t.stride[0] = in.stride;
        return t;
    };
    Tap tap(outputs_, [&](int64_t index, const TensorRef& values) {
        if (take_) take_(tile, index, values);
    });
    compute_tile(in, wrap(in.ids, DType::u16), wrap(in.start, DType::u8), tap);
}

void Embedder::run_on_gpu(const TokenRows& in, int64_t tile) {
    const int64_t place = take_ ? static_cast<int64_t>(next_letter_) : 0;
    Letter& letter = letters_[next_letter_];
    next_letter_ = (next_letter_ + 1) % letters_.size();
    deliver(letter);
    CUstream_st* stream = ctx_.gpu->stream();
    const TensorRef ids(ids_.ref().data, DType::u16, {in.count, in.n}, Device::cuda);
    const TensorRef start(start_.ref().data, DType::u8, {in.count, in.n}, Device::cuda);
    for (int64_t r = 0; r < in.count; ++r) {
        std::copy_n(in.ids + r * in.stride, in.n, letter.ids.as<uint16_t>() + r * in.n);
        if (in.start) std::copy_n(in.start + r * in.stride, in.n, letter.start.as<uint8_t>() + r * in.n);
    }
    copy_async(ids.data, letter.ids.data(), ids.bytes(), stream);
    if (in.start) copy_async(start.data, letter.start.data(), start.bytes(), stream);
    Tap tap(outputs_, [&](int64_t index, const TensorRef& values) {
        if (take_) copy(ctx_, values, output(letter, index, in.count, in.n, false));
    });
    graphs_.run(ctx_, {in.count, in.n, in.start != nullptr, place},
                [&] { compute_tile(in, ids, start, tap); });
    letter.computed.record(stream);
    CUstream_st* back = take_ ? ctx_.gpu->copy_stream() : stream;
    if (take_) {
        letter.computed.wait_in(back);
        for (int64_t i = 0; i < outputs_.count(); ++i) {
            const TensorRef from = output(letter, i, in.count, in.n, false);
            copy_async(output(letter, i, in.count, in.n, true).data, from.data, from.bytes(), back);
        }
    }
    letter.done.record(back);
    letter.tile = tile;
    letter.count = in.count;
    letter.n = in.n;
    letter.full = take_ != nullptr;
}

// Waits until the letter may be used again and hands out what came with it.
void Embedder::deliver(Letter& letter) {
    letter.done.synchronize();
    if (!letter.full) return;
    letter.full = false;
    for (int64_t i = 0; i < outputs_.count(); ++i)
        take_(letter.tile, i, output(letter, i, letter.count, letter.n, true));
}

void Embedder::finish() {
    // The oldest first.
    for (size_t i = 0; i < letters_.size(); ++i) deliver(letters_[(next_letter_ + i) % letters_.size()]);
    if (ctx_.gpu) ctx_.gpu->synchronize();
}

}  // namespace adder
