// TileEngine: exact gradients of sequences of any length in bounded memory.
//
// A sequence of L tokens is cut into tiles of T. Forward walks the tiles and keeps the state at every border; backward
// walks them from the end, carrying the gradient of the state. The last `keep` tiles keep what their backward needs; the
// others are computed again from their border state, by the same kernels on the same shapes, so `keep` changes no bit of
// the result.
//
// On a GPU all of this is given to the device without waiting for it, at most a few tiles ahead, and every piece of work
// that repeats is recorded as a graph. What a graph reads and writes has fixed addresses: the tile's tokens, the states
// before and behind it and the gradient of the state; states are copied from and to their borders between the graphs.
// Absolute positions are not part of a graph: ops on a GPU get positions inside the tile.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/batch.h"
#include "core/interrupted.h"
#include "kernels/common/run_op.h"
#include "model/graph_cache.h"
#include "model/state.h"
#include "model/tile_plan.h"

namespace adder {

// Sums over counted tokens; loss in nats.
struct LossSums {
    double loss = 0, weight = 0;
};

class TileEngine {
  public:
    // `model`'s parameters are bound and have gradients. `plan` is for this model, and so are those that `configure` will
    // be given: memory is allocated once, for the largest of them all. Throws OutOfMemory when it is not there,
    // with what would fit.
    TileEngine(LanguageModel& model, const Compute& compute, const MemoryPlan& plan, std::span<const MemoryPlan> later = {});

    // Runs `make`, which allocates something else that the plan counts: its OutOfMemory says what would fit, and the engine
    // has no memory any more.
    void with_what_fits(const std::function<void()>& make);
    // Other lengths and batches, for example of a length warm-up. Waits for the device. Allocates only for a plan that needs
    // more than any before.
    void configure(const MemoryPlan& plan);
    int64_t memory_bytes() const { return memory_.capacity_bytes(); }
    // Adds the gradients of the un-normalised loss (sum of weight x nats) to the parameters' gradients and the sums to
    // `sums`: f64 (2), loss and W, in the memory of the device. B and L are those of the plan.
    void forward_backward(const Batch& batch, const TensorRef& sums);  // on the CPU
    void forward_backward(const PackedBatch& batch, const TensorRef& sums);

    void set_stop_flag(const std::atomic<bool>* stop) { stop_ = stop; }
    void set_meter(OpMeter* meter) { ctx_.meter = meter; }
    // Compare every recomputed border state with the stored one, bitwise (always on in debug builds). On a GPU each
    // comparison waits for the device.
    void set_verify(bool verify) { verify_ = verify; }
    // Fill scratch with NaN patterns and guard it with canaries: for tests on the CPU; call before `configure`.
    void set_poison(bool poison) { poison_ = poison; }
    // Off: work is given to the GPU op by op.
    void set_graphs(bool on) { graphs_.enable(on); }

  private:
    struct Slot {
        Saved saved;
        TensorRef y;
    };
    // One of the two, and the tiles of it that hold anything.
    struct Source {
        const Batch* whole = nullptr;
        const PackedBatch* packed = nullptr;
        int64_t tiles = 0, first_kept = 0;
    };
    // head_only: all that a frozen backbone asks for.
    enum class Work : int64_t { first_pass, keep, backward, again, head_only };

    void free_memory();
    void reserve(const MemoryPlan& plan);
    // Lays the plan out without memory: a real layout must follow.
    int64_t bytes_of(const MemoryPlan& plan);
    void lay_out(const MemoryPlan& plan, Arena& memory);
    void walk(Source from, int64_t filled, const TensorRef& sums);
    TokenTile load(const Source& from, int64_t i);
    void run(Work work, const Source& from, int64_t i, const TensorRef& sums);
    void compute(Work work, const Tile& tile, const TokenTile& tokens, Slot* slot, State in, State out,
                 const TensorRef& sums);
    void verify_border(int64_t i, int64_t again);
    void check_stop() const;
    void keep_pace();

    LanguageModel& model_;
    Compute compute_;
    Arena memory_;   // all that follows lies in it
    Arena scratch_;
    Ctx ctx_;
    MemoryPlan plan_, largest_;  // the present one; the one that the memory is for
    StateStore borders_;     // state before tile i; the last one is for states that nobody needs
    StateStore current_;     // GPU, several tiles: the states before and behind the present tile
    StateStore state_grad_;
    std::vector<Slot> slots_;
    TensorRef tokens_;       // GPU: memory of the present tile's tokens
    GraphCache graphs_;
    std::vector<Event> paces_;  // GPU: one for each tile that the host may be ahead
    int64_t given_ = 0;         // tiles given to the GPU
    const std::atomic<bool>* stop_ = nullptr;
    bool verify_ = false, poison_ = false;
};

}  // namespace adder
