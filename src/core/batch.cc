#include "core/batch.h"

#include <algorithm>
#include <bit>

namespace adder {

namespace {

constexpr int64_t kPartAlign = 256;

int64_t aligned(int64_t bytes) { return (bytes + kPartAlign - 1) / kPartAlign * kPartAlign; }

struct Row {
    const uint16_t *ids, *targets;
    const float* weights;
    const uint8_t* start;
    int64_t L;
};

Row row_of(const Batch& batch, int64_t b) {
    const int64_t at = b * batch.L;
    return {batch.ids.ref().ptr<const uint16_t>("ids") + at, batch.targets.ref().ptr<const uint16_t>("targets") + at,
            batch.weights.ref().ptr<const float>("weights") + at, batch.start.ref().ptr<const uint8_t>("start") + at,
            batch.L};
}

// The indices of weights, by the bits of the number.
class Palette {
  public:
    explicit Palette(float* values) : values_(values) { std::fill_n(values, PackedBatch::kWeights, 0.0f); }
    // -1: no room.
    int64_t index_of(float weight) {
        if (weight == 0) return 0;
        const auto bits = std::bit_cast<uint32_t>(weight);
        if (bits == last_bits_) return last_;
        int64_t i = 1;
        while (i < size_ && std::bit_cast<uint32_t>(values_[i]) != bits) ++i;
        if (i == PackedBatch::kWeights) return -1;
        values_[i] = weight;
        size_ = std::max(size_, i + 1);
        last_bits_ = bits;
        return last_ = i;
    }

  private:
    float* values_;
    int64_t size_ = 1, last_ = 0;
    uint32_t last_bits_ = 0;
};

// Whether the member that begins at t counts nothing, so that its tokens do not matter.
bool counts_nothing(const Row& row, int64_t t) {
    if (!row.start[t]) return false;
    do {
        if (row.weights[t] != 0) return false;
    } while (++t < row.L && !row.start[t]);
    return true;
}

template <class Token>
void pack_row(const Row& row, int64_t b, int64_t vocab, Palette& palette, Token* tokens, uint8_t* flags) {
    const int64_t L = row.L;
    int64_t largest = 0;
    for (int64_t t = 0; t < L; ++t) {
        largest = std::max<int64_t>(largest, row.ids[t]);
        tokens[t] = static_cast<Token>(row.ids[t]);
    }
    for (int64_t t = 0; largest >= vocab; ++t)
        if (row.ids[t] >= vocab)
            fail("[batch] ids: expected ids below V = {}, got {} in row {} at step {}", vocab, row.ids[t], b, t);
    tokens[L] = 0;
    for (int64_t t = 0; t < L; ++t) {
        const int64_t index = palette.index_of(row.weights[t]);
        if (index < 0)
            fail("[batch] weights: more than {} distinct numbers, the next is {} in row {} at step {}; hint: --device cpu",
                 PackedBatch::kWeights - 1, row.weights[t], b, t);
        flags[t] = static_cast<uint8_t>(index << 1 | (row.start[t] ? 1 : 0));
        if (index == 0) continue;
        const int64_t target = row.targets[t];
        if (target >= vocab)
            fail("[batch] targets: expected less than V = {} where the weight is not 0, got {} in row {} at step {}", vocab,
                 target, b, t);
        if (t + 1 < L && tokens[t + 1] != target && !counts_nothing(row, t + 1))
            fail("[batch] targets: {} in row {} at step {} is not the next token of its row, {}; hint: --device cpu", target,
                 b, t, row.ids[t + 1]);
        tokens[t + 1] = static_cast<Token>(target);
    }
}

}  // namespace

int64_t TokenTile::bytes(int64_t B, int64_t T) {
    int64_t n = 0;
    for (DType type : {DType::u16, DType::u16, DType::f32, DType::u8}) n += aligned(B * T * size_of(type));
    return n;
}

TokenTile TokenTile::at(void* memory, Device device, int64_t B, int64_t T) {
    auto* p = static_cast<char*>(memory);
    const auto next = [&](DType type) {
        const TensorRef t(p, type, {B, T}, device);
        if (p) p += aligned(t.bytes());
        return t;
    };
    TokenTile tile;
    tile.ids = next(DType::u16);
    tile.targets = next(DType::u16);
    tile.weights = next(DType::f32);
    tile.start = next(DType::u8);
    return tile;
}

int64_t PackedBatch::bytes(int64_t vocab, int64_t B, int64_t L) {
    return aligned(B * (L + 1) * size_of(token_type(vocab))) + aligned(B * L) + kWeights * size_of(DType::f32);
}

PackedBatch PackedBatch::at(void* memory, Device device, int64_t vocab, int64_t B, int64_t L) {
    auto* p = static_cast<char*>(memory);
    PackedBatch batch;
    batch.tokens = TensorRef(p, token_type(vocab), {B, L + 1}, device);
    p += aligned(batch.tokens.bytes());
    batch.flags = TensorRef(p, DType::u8, {B, L}, device);
    p += aligned(batch.flags.bytes());
    batch.palette = TensorRef(p, DType::f32, {kWeights}, device);
    return batch;
}

void pack(const Batch& from, int64_t vocab, const PackedBatch& to) {
    expect("batch", "flags", to.flags, DType::u8, {from.B, from.L});
    expect("batch", "tokens", to.tokens, PackedBatch::token_type(vocab), {from.B, from.L + 1});
    Palette palette(to.palette.ptr<float>("palette"));
    auto* flags = to.flags.ptr<uint8_t>("flags");
    for (int64_t b = 0; b < from.B; ++b) {
        const Row row = row_of(from, b);
        const int64_t at = b * (from.L + 1);
        if (to.tokens.dtype == DType::u8)
            pack_row(row, b, vocab, palette, to.tokens.ptr<uint8_t>("tokens") + at, flags + b * from.L);
        else
            pack_row(row, b, vocab, palette, to.tokens.ptr<uint16_t>("tokens") + at, flags + b * from.L);
    }
}

}  // namespace adder
