// Batch: what the data side and the compute side share.
#pragma once
#include <cstdint>

#include "core/tensor.h"

namespace adder {

// The first `until_step` steps of a run, past those of the stage before, see B sequences of L tokens.
struct LengthStage {
    int64_t until_step = 0;
    int64_t L = 0, B = 0;
    friend bool operator==(const LengthStage&, const LengthStage&) = default;
};

// B sequences of L tokens. Position t of row b predicts targets(b,t), counted weights(b,t) times.
//   ids      (B,L) u16   token ids; padding rows and columns hold the padding id
//   targets  (B,L) u16   the next token of the same member; anything where the weight is 0
//   weights  (B,L) f32   0 at the last token of a member without look-ahead, at padding, specials and unscored letters
//   start    (B,L) u8    1 = a packed member begins here and sees nothing before it
// A classifier's batch differs in two: at the last position of a member the target is its class and the weight is how
// often it counts, elsewhere the weight is 0.
struct Batch {
    int64_t B = 0, L = 0;
    int64_t filled = 0;  // columns that hold anything but padding: the others need not be computed
    Tensor ids, targets, weights, start;

    Batch() = default;
    Batch(int64_t B_, int64_t L_)
        : B(B_), L(L_), filled(L_), ids(DType::u16, {B_, L_}), targets(DType::u16, {B_, L_}), weights(DType::f32, {B_, L_}),
          start(DType::u8, {B_, L_}) {}
};

// Some steps of a batch, as layers read them: the types of Batch, (B,T) each.
struct TokenTile {
    TensorRef ids, targets, weights, start;

    static int64_t bytes(int64_t B, int64_t T);  // of the memory that `at` takes
    // Contiguous tensors in memory of this place and size.
    static TokenTile at(void* memory, Device device, int64_t B, int64_t T);
};

// A batch as it travels to a GPU, three bytes a token where the vocabulary is small: the few weights there are stand in a
// palette. Targets are not always the next token of the row: the last target of a member stands before another member.
//   tokens   (B,L) u8, or u16 where the vocabulary is larger than 256
//   targets  (B,L), the same type; 0 where the weight is 0
//   flags    (B,L) u8    bit 0: start; bits 1..7: index of the weight in the palette, 0 for weight 0
//   palette  (128) f32
struct PackedBatch {
    static constexpr int64_t kWeights = 128;
    TensorRef tokens, targets, flags, palette;
    int64_t filled = 0;  // columns, as in Batch

    static DType token_type(int64_t vocab) { return vocab <= 256 ? DType::u8 : DType::u16; }
    static int64_t bytes(int64_t vocab, int64_t B, int64_t L);  // of the memory that `at` takes
    // A packed batch in memory of this place and size.
    static PackedBatch at(void* memory, Device device, int64_t vocab, int64_t B, int64_t L);
    int64_t B() const { return flags.size(0); }
    int64_t L() const { return flags.size(1); }
};

// Ids are below `vocab`, targets below `targets`: a classifier's are classes. The larger decides the type of both.
struct TokenRange {
    int64_t vocab, targets;
    TokenRange(int64_t V) : vocab(V), targets(V) {}
    TokenRange(int64_t V, int64_t C) : vocab(V), targets(C) {}
    int64_t all() const { return vocab > targets ? vocab : targets; }
};

// `to` is on the host, made for range.all() tokens. Throws Error naming row and position of an id or a counted target that
// is out of range, or of a weight for which the palette has no room.
void pack(const Batch& from, const TokenRange& range, const PackedBatch& to);

}  // namespace adder
