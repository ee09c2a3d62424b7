// Drawing the next token of every row from its logits.
//
//   mask, temperature, top-k, then the smallest set of the most likely tokens whose probability reaches top-p; equal
//   logits rank by token id. Row b draws with u = Philox(seed, Stream::sample).uniform(position[b], record[b]), so a token
//   depends on (seed, record, position, logits) alone. Probabilities are f64.
//
// Everything that changes from step to step lives beside the logits, so that a recorded step can be repeated.
// Source of top-p: Holtzman et al. 2020 (arXiv 1904.09751), section 3.1.
#pragma once
#include <cstdint>

#include "core/ctx.h"
#include "core/tensor.h"

namespace adder {

struct SampleRule {
    double temperature = 1;  // 0 = the most likely token
    int64_t top_k = 0;       // 0 = off
    double top_p = 0;        // nucleus; 0 = off
};

// Throws Error naming the value and its range.
void check(const SampleRule& rule);

struct SampleArgs {
    TensorRef logits;   // (B,V) f32, on the CPU also f64; V up to 65,536
    TensorRef allowed;  // (P,V) u8: row p % P is of the token at position p; 1 = may be drawn; one at least is
    SampleRule rule;
    uint64_t seed = 0;
};

struct SampleRows {
    TensorRef position;      // (B) i64: of the token to draw
    TensorRef end;           // (B) i64: a row at or past it draws nothing
    TensorRef record;        // (B) i64: number of the row's sequence, 0 to 2^32 - 1
    TensorRef new_position;  // (B) i64: position + 1, in rows that draw nothing position; may be `position` itself
    TensorRef next;          // (B) u16: the token drawn; kept in rows that draw nothing
    TensorRef tokens;        // (B,C) u16: the token at position p goes to column p % C; absent = not kept
};

// Throws Error, on a GPU reports Fault::logits, when the logit of an allowed token is not finite.
void sample(Ctx& ctx, const SampleArgs& args, const SampleRows& rows);

// One draw on the CPU with a given u in [0, 1). logits (V) f32 or f64; order: working memory for V ids.
uint16_t draw_token(const TensorRef& logits, const TensorRef& allowed, const SampleRule& rule, double u, uint16_t* order);

}  // namespace adder
