// TileEngine: exact gradients of sequences of any length in bounded memory.
//
// A sequence of L tokens is cut into tiles of T. Forward walks the tiles and keeps the state at every border; backward
// walks them from the end, carrying the gradient of the state. The last `keep` tiles keep what their backward needs; the
// others are computed again from their border state, by the same kernels on the same shapes, so `keep` changes no bit of
// the result.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "core/batch.h"
#include "kernels/common/run_op.h"
#include "model/state.h"
#include "model/tile_plan.h"

namespace adder {

// Sums over counted tokens; loss in nats.
struct LossSums {
    double loss = 0, weight = 0;
};

// Thrown between tiles when the stop flag is set; gradients are incomplete then.
struct Interrupted {};

class TileEngine {
  public:
    // `model`'s parameters are bound and have gradients. `plan` is for this model.
    TileEngine(LanguageModel& model, const Compute& compute, const MemoryPlan& plan);

    // Other lengths and batches, for example of a length warm-up.
    void configure(const MemoryPlan& plan);
    // Adds the gradients of the un-normalised loss (sum of weight x nats) to the parameters' gradients and returns the
    // sums. batch.B and batch.L are those of the plan.
    LossSums forward_backward(const Batch& batch);

    void set_stop_flag(const std::atomic<bool>* stop) { stop_ = stop; }
    void set_meter(OpMeter* meter) { ctx_.meter = meter; }
    // Compare every recomputed border state with the stored one, bitwise (always on in debug builds).
    void set_verify(bool verify) { verify_ = verify; }
    // Fill scratch with NaN patterns and guard it with canaries: for tests; call before `configure`.
    void set_poison(bool poison) { poison_ = poison; }

  private:
    struct Slot {
        Saved saved;
        TensorRef y;
    };
    Tile tile_of(const Batch& batch, int64_t i) const;
    void first_pass(const Batch& batch, int64_t i);
    void forward_kept(const Batch& batch, int64_t i, Slot& slot, State out);
    LossSums backward_tile(const Batch& batch, int64_t i, Slot& slot);
    void check_stop() const;

    LanguageModel& model_;
    Compute compute_;
    Arena scratch_;
    Ctx ctx_;
    MemoryPlan plan_;
    StateStore borders_;      // state before tile i; the last one is scratch for states that nobody needs
    StateStore state_grad_;
    std::vector<Slot> slots_;
    std::vector<LossSums> sums_;  // by tile, added up in tile order
    Tensor tile_sums_;
    const std::atomic<bool>* stop_ = nullptr;
    bool verify_ = false, poison_ = false;
};

}  // namespace adder
