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
#include "core/threads.h"
#include "kernels/common/run_op.h"
#include "model/model.h"
#include "model/state.h"

namespace adder {

struct TileOptions {
    int64_t B = 1, L = 1;
    int64_t T = 0;      // tile length; 0 = chosen by `choose_tiles`
    int64_t keep = -1;  // tiles that are not computed again; -1 = chosen by `choose_tiles`
    friend bool operator==(const TileOptions&, const TileOptions&) = default;
};

// Bytes of everything a training step uses, and the work of one step. Computed by a dry run, before any allocation.
struct MemoryPlan {
    TileOptions tiles;
    int64_t n_tiles = 1;
    int64_t parameter_bytes = 0;  // values and gradients
    int64_t optimizer_bytes = 0;  // first and second moments
    int64_t border_bytes = 0;     // states at tile borders: grows with L / T
    int64_t saved_tile_bytes = 0, saved_bytes = 0;  // of one kept tile, of all
    int64_t scratch_bytes = 0;
    int64_t batch_bytes = 0;      // tokens, targets, weights, flags: grows with L
    double step_flops = 0;        // recomputation included
    int64_t parameters = 0;       // elements
    int64_t total_bytes() const {
        return parameter_bytes + optimizer_bytes + border_bytes + saved_bytes + scratch_bytes + batch_bytes;
    }
};

// The plan for exactly these tiles (T >= 1, keep >= 0 are clamped to what the length allows).
MemoryPlan plan_training(LanguageModel& model, DType storage, const TileOptions& tiles);
// Fills in T and keep where they are open: one tile if that fits into `memory_bytes`, else the longest power of two that
// does, keeping as many tiles as fit. Throws Error with the need of the smallest plan when nothing fits.
MemoryPlan choose_tiles(LanguageModel& model, DType storage, const TileOptions& tiles, int64_t memory_bytes);

// Sums over counted tokens; loss in nats.
struct LossSums {
    double loss = 0, weight = 0;
};

// Thrown between tiles when the stop flag is set; gradients are incomplete then.
struct Interrupted {};

class TileEngine {
  public:
    // `model`'s parameters are bound and have gradients. `plan` is for this model.
    TileEngine(LanguageModel& model, DType storage, ThreadPool& pool, const MemoryPlan& plan);

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
    DType storage_;
    Ctx ctx_;
    Arena scratch_;
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
