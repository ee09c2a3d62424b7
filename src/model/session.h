// Session: a model that reads. Holds the state of B independent rows and carries it over tiles and single steps:
// evaluation, prefill and generation are this one thing.
#pragma once
#include <cstdint>
#include <vector>

#include "model/model.h"
#include "model/state.h"

namespace adder {

class Session {
  public:
    // Memory is planned for B rows, tiles of at most T tokens, and freed with the session.
    Session(LanguageModel& model, const Compute& compute, int64_t B, int64_t T);

    int64_t rows() const { return B_; }
    int64_t tile() const { return T_; }
    // Back to the zero state.
    void reset(int64_t row);
    // Gives row `to` the state of row `from`.
    void copy_row(int64_t from, int64_t to);

    // Reads `n` <= tile() tokens into the state of one row. t0: absolute position of the first; start (n flags) may be
    // null. The row's bits do not depend on the other rows.
    void read(int64_t row, const uint16_t* ids, const uint8_t* start, int64_t n, int64_t t0);
    // As read, and scores: nats[i] of targets[i] where weights[i] > 0, else 0.
    void score(int64_t row, const uint16_t* ids, const uint16_t* targets, const float* weights, const uint8_t* start,
               int64_t n, int64_t t0, double* nats);
    // One step of all rows: ids (B). Returns logits (B,V) in the accumulation type, valid until the next call.
    TensorRef step(const uint16_t* ids);

  private:
    void run_tile(int64_t row, const uint16_t* ids, const uint16_t* targets, const float* weights, const uint8_t* start,
                  int64_t n, int64_t t0, double* nats);

    LanguageModel& model_;
    Compute compute_;
    int64_t B_, T_;
    Arena scratch_;
    Ctx ctx_;
    StateStore state_;
    std::vector<TensorRef> row_slots_, other_slots_;
    Tensor logits_, step_ids_, sums_;
};

}  // namespace adder
