// Session: a model that reads. Holds the state of B independent rows and carries it over tiles and single steps:
// evaluation, prefill and generation are this one thing. On a GPU it works ahead of the host.
#pragma once
#include <cstdint>
#include <set>
#include <vector>

#include "core/batch.h"
#include "model/graph_cache.h"
#include "model/model.h"
#include "model/state.h"

namespace adder {

// Tokens of `count` neighbouring rows of a session, n of each. Row r's begin at ids + r stride, and so in the others.
struct TokenRows {
    int64_t first = 0, count = 1;
    int64_t n = 0;
    int64_t t0 = 0;      // absolute position of the first token
    int64_t stride = 0;  // does not matter for one row
    const uint16_t* ids = nullptr;
    const uint16_t* targets = nullptr;  // these two: to score
    const float* weights = nullptr;
    const uint8_t* start = nullptr;  // absent = none
};

class Session {
  public:
    // Memory is planned for B rows, tiles of at most T tokens (rounded up to a multiple of the model's stride) of at most
    // `at_once` rows, and freed with the session.
    Session(LanguageModel& model, const Compute& compute, int64_t B, int64_t T, int64_t at_once = 1);

    int64_t rows() const { return B_; }
    int64_t tile() const { return T_; }
    int64_t bytes() const;  // on the device
    // Tokens of a row are read from multiples of it on, and starts stand there; single steps may go on from anywhere.
    int64_t stride() const { return stride_; }
    // Back to the zero state.
    void reset(int64_t row);
    // Gives row `to` the state of row `from`.
    void copy_row(int64_t from, int64_t to);

    // Reads tokens into the state of their rows. A row's bits do not depend on rows that are not read with it, on the CPU
    // on no other row.
    void read(const TokenRows& in);
    // As read, and scores: nats[i] of targets[i] where weights[i] > 0, else 0, laid out as the tokens. On a GPU `nats` is
    // written by the next call but one or by `finish`, whichever comes first.
    void score(const TokenRows& in, double* nats);
    void finish();

    // One step of all rows, which have read as many tokens modulo stride(): ids (B). Returns logits (B,V) in the accumulation type, on the device, valid until the next
    // call.
    TensorRef step(const uint16_t* ids);
    // `count` times one step, then `after`, recorded together on a GPU: ids (B) u16 are read from `step_ids`, logits (B,V) left
    // in `logits`. `after` is the same at every call.
    template <class After>
    void steps_and(int64_t count, After after) {
        const int64_t first = phase();
        graphs_.run(ctx_, {-2, count, first, 0}, [&] {
            for (int64_t i = 0; i < count; ++i) {
                give_step((first + i) % stride_);
                after();
            }
        });
        advance(0, B_, count);
    }
    TensorRef step_ids() const { return step_ids_.ref().reshape({B_}); }
    TensorRef logits() const { return logits_.ref().reshape({B_, model_.vocab()}); }

  private:
    // Page-locked memory of a tile on its way to a GPU and of its scores on their way back.
    struct Letter {
        PinnedMemory tokens, nats, ids;
        Event done;
        double* to = nullptr;  // where the scores go; null: nothing is on its way
        int64_t count = 0, n = 0, stride = 0;
    };
    int64_t phase() const;  // of all rows
    void advance(int64_t first, int64_t rows, int64_t tokens);
    void give_step(int64_t phase);
    void plan(const TokenRows& in, bool scored);
    void run_tile(const TokenRows& in, double* nats);
    void run_on_gpu(const TokenRows& in, double* nats);
    void compute_tile(const TokenRows& in, const TokenTile& tokens, const TensorRef& nats);
    void deliver(Letter& letter);

    LanguageModel& model_;
    Compute compute_;
    int64_t B_, stride_, T_, at_once_;
    std::vector<int64_t> phases_;  // of each row: tokens read, modulo the stride
    Arena scratch_;
    Ctx ctx_;
    StateStore state_;
    std::vector<TensorRef> row_slots_, other_slots_;
    Tensor logits_, step_ids_, sums_;
    std::set<GraphCache::Key> planned_;
    Tensor tokens_, nats_;          // from here on: on a GPU
    std::vector<Letter> letters_;
    size_t next_letter_ = 0;
    GraphCache graphs_;
};

}  // namespace adder
