// Embedder: what a backbone makes of tokens, tile by tile, in memory that does not depend on their number.
#pragma once
#include <cstdint>
#include <functional>
#include <set>
#include <vector>

#include "model/graph_cache.h"
#include "model/model.h"
#include "model/session.h"
#include "model/state.h"

namespace adder {

// The outputs of a tile, in this order.
struct EmbedderOutputs {
    std::vector<int64_t> streams =
        {};              // the residual stream after so many blocks (0: the embedded tokens), increasing
    bool normed = true;  // the last one after the final norm: what the head reads
    int64_t count() const { return static_cast<int64_t>(streams.size()) + normed; }
};

class Embedder {
  public:
    // Receives output `index` of the tile that was given as `tile`: (count,n,M) on the host, f32, bf16 or
    // f64, gone after the call. Tiles come in the order in which they were given, and the outputs of a tile
    // in theirs.
    using Take = std::function<void(int64_t tile, int64_t index, const TensorRef& values)>;

    // Memory is planned for tiles of at most T tokens in at most B rows. Without `take` nothing leaves the
    // device. Errors: a stream that the backbone does not have or show.
    Embedder(LanguageModel& model, const Compute& compute, int64_t B, int64_t T, EmbedderOutputs outputs,
             Take take = {});
    ~Embedder();

    int64_t tile() const { return T_; }
    int64_t rows() const { return B_; }
    int64_t bytes() const;
    // All rows back to the zero state.
    void reset();
    // Reads `in` (ids and starts) into the state of its rows, which are the first `count`. On the CPU `take`
    // is called before this returns, on a GPU by the next call but one or by `finish`. On the CPU a row's
    // bits depend on no other row, and not on how it is cut into tiles that begin at multiples of 1,024.
    void run(const TokenRows& in, int64_t tile);
    void finish();

  private:
    class Tap;
    struct Letter;
    void plan(const TokenRows& in);
    void compute_tile(const TokenRows& in, const TensorRef& ids, const TensorRef& start, Tap& tap);
    void run_on_gpu(const TokenRows& in, int64_t tile);
    void deliver(Letter& letter);
    TensorRef output(const Letter& letter, int64_t index, int64_t count, int64_t n, bool on_host) const;

    LanguageModel& model_;
    Compute compute_;
    int64_t B_, T_;
    EmbedderOutputs outputs_;
    Take take_;
    Arena scratch_;
    Ctx ctx_;
    StateStore state_;
    std::vector<TensorRef> row_slots_;
    std::set<GraphCache::Key> planned_;
    Tensor ids_, start_;  // from here on: on a GPU
    std::vector<Letter> letters_;
    size_t next_letter_ = 0;
    GraphCache graphs_;
};

}  // namespace adder
