// BatchFeed: micro-batches on their way to a GPU. While the device computes on one, the next is filled and packed into
// page-locked memory and copied beside the computation; two of each are enough, because the device never needs a third.
#pragma once
#include <array>
#include <cstdint>
#include <functional>

#include "core/batch.h"
#include "core/ctx.h"

namespace adder {

// Fills micro-batch `micro` of step `step` (both from 0): a function of these two numbers alone.
using FillBatch = std::function<void(int64_t step, int64_t micro, Batch& batch)>;

class BatchFeed {
  public:
    // Two pieces of equal size, on the device, for packed batches; takes as much page-locked memory.
    using Memory = std::array<Tensor, 2>;
    BatchFeed(Gpu& gpu, const TokenRange& range, Memory memory);
    static int64_t bytes_of(const TokenRange& range, int64_t B, int64_t L) { return PackedBatch::bytes(range.all(), B, L); }
    int64_t capacity_bytes() const { return places_[0].memory.ref().bytes(); }

    // Batches of B rows of L tokens from now on; those that were prepared are forgotten. At first and between steps.
    void configure(int64_t B, int64_t L);

    // The batch on the device; what the ops' stream is given from now on finds it there. Valid until `done`.
    const PackedBatch& take(int64_t step, int64_t micro, const FillBatch& fill);
    // The ops' stream has been given everything that reads the batch.
    void done();
    // Makes the batch that the next `take` asks for.
    void prepare(int64_t step, int64_t micro, const FillBatch& fill);

  private:
    struct Place {
        PinnedMemory pinned;
        Tensor memory;
        PackedBatch on_host, on_device;
        Event uploaded, consumed;
        int64_t step = -1, micro = -1;
    };
    void make(Place& place, int64_t step, int64_t micro, const FillBatch& fill);

    Gpu& gpu_;
    TokenRange range_;
    Batch filled_;
    int64_t bytes_ = 0;  // of a packed batch
    std::array<Place, 2> places_;
    size_t present_ = 0;
};

}  // namespace adder
