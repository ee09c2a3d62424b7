#include "core/batch.h"

#include <algorithm>
#include <bit>

#include "core/ceil_div.h"

namespace adder {

namespace {

constexpr int64_t kPartAlign = 256;

int64_t aligned(int64_t bytes) { return ceil_div(bytes, kPartAlign) * kPartAlign; }

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

template <class Token>
void pack_row(const Row& row, int64_t b, const TokenRange& range, Palette& palette, Token* tokens, Token* targets, uint8_t* flags) {
    const int64_t L = row.L;
    uint16_t largest_id = 0, largest_target = 0;
    for (int64_t t = 0; t < L; ++t) {
        const uint16_t target = row.weights[t] != 0 ? row.targets[t] : uint16_t{0};
        largest_id = std::max(largest_id, row.ids[t]);
        largest_target = std::max(largest_target, target);
        tokens[t] = static_cast<Token>(row.ids[t]);
        targets[t] = static_cast<Token>(target);
    }
    for (int64_t t = 0; largest_id >= range.vocab; ++t)
        if (row.ids[t] >= range.vocab)
            fail("[batch] ids: expected ids below V = {}, got {} in row {} at step {}", range.vocab, row.ids[t],
                 b, t);
    for (int64_t t = 0; largest_target >= range.targets; ++t)
        if (row.weights[t] != 0 && row.targets[t] >= range.targets)
            fail("[batch] targets: expected less than V = {} where the weight is not 0, got {} in row {} at step {}",
                 range.targets, row.targets[t], b, t);
    for (int64_t t = 0; t < L; ++t) {
        const int64_t index = palette.index_of(row.weights[t]);
        if (index < 0)
            fail("[batch] weights: more than {} distinct numbers, the next is {} in row {} at step {}; hint: --device cpu",
                 PackedBatch::kWeights - 1, row.weights[t], b, t);
        flags[t] = static_cast<uint8_t>(index << 1 | (row.start[t] ? 1 : 0));
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
    return 2 * aligned(B * L * size_of(token_type(vocab))) + aligned(B * L) + kWeights * size_of(DType::f32);
}

PackedBatch PackedBatch::at(void* memory, Device device, int64_t vocab, int64_t B, int64_t L) {
    auto* p = static_cast<char*>(memory);
    PackedBatch batch;
    batch.filled = L;
    batch.tokens = TensorRef(p, token_type(vocab), {B, L}, device);
    p += aligned(batch.tokens.bytes());
    batch.targets = TensorRef(p, token_type(vocab), {B, L}, device);
    p += aligned(batch.targets.bytes());
    batch.flags = TensorRef(p, DType::u8, {B, L}, device);
    p += aligned(batch.flags.bytes());
    batch.palette = TensorRef(p, DType::f32, {kWeights}, device);
    return batch;
}

void pack(const Batch& from, const TokenRange& range, const PackedBatch& to) {
    expect("batch", "flags", to.flags, DType::u8, {from.B, from.L});
    expect("batch", "tokens", to.tokens, PackedBatch::token_type(range.all()), {from.B, from.L});
    expect("batch", "targets", to.targets, to.tokens.dtype, {from.B, from.L});
    Palette palette(to.palette.ptr<float>("palette"));
    auto* flags = to.flags.ptr<uint8_t>("flags");
    for (int64_t b = 0; b < from.B; ++b) {
        const Row row = row_of(from, b);
        const int64_t at = b * from.L;
        const auto pack_as = [&]<class Token>(Token) {
            pack_row(row, b, range, palette, to.tokens.ptr<Token>("tokens") + at, to.targets.ptr<Token>("targets") + at,
                     flags + at);
        };
        to.tokens.dtype == DType::u8 ? pack_as(uint8_t{}) : pack_as(uint16_t{});
    }
}

}  // namespace adder
