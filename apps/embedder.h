// Embedder: the backbone and its last norm over whole sequences, tile by tile, in memory that does not depend on their
// length.
#pragma once
#include <cstdint>
#include <vector>

#include "model/graph_cache.h"
#include "model/model.h"
#include "model/state.h"

namespace adder {

class Embedder {
  public:
    // Memory is planned for sequences of L tokens, B of them at a time in tiles of T tokens each.
    Embedder(LanguageModel& model, const Compute& compute, int64_t B, int64_t L, int64_t T);

    // ids (B,L) u16, contiguous, on the host. The embeddings of a tile replace those of the one before it. On a GPU the
    // work is given and not waited for.
    void run(const uint16_t* ids);
    int64_t bytes() const;

  private:
    // Page-locked memory of tokens on their way to a GPU.
    struct Letter {
        PinnedMemory ids;
        Event sent;
    };
    void compute_tile(const TensorRef& ids, int64_t t0);
    TensorRef send(const uint16_t* ids, int64_t t0, int64_t n);

    LanguageModel& model_;
    Compute compute_;
    int64_t B_, L_, T_;
    Arena scratch_;
    Ctx ctx_;
    StateStore state_;
    Tensor y_;
    Tensor tokens_;  // from here on: on a GPU
    std::vector<Letter> letters_;
    size_t next_letter_ = 0;
    GraphCache graphs_;
};

}  // namespace adder
