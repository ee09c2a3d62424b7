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
struct Batch {
    int64_t B = 0, L = 0;
    Tensor ids, targets, weights, start;

    Batch() = default;
    Batch(int64_t B_, int64_t L_)
        : B(B_), L(L_), ids(DType::u16, {B_, L_}), targets(DType::u16, {B_, L_}), weights(DType::f32, {B_, L_}),
          start(DType::u8, {B_, L_}) {}
};

}  // namespace adder
