// Arena: one block of memory handed out from the bottom up. The same code runs twice: first on an arena that only
// counts (its tensors have null data), then on one bound to memory of the counted size. Nothing allocates in between.
#pragma once
#include <cstdint>
#include <exception>

#include "core/tensor.h"

namespace adder {

class Arena {
  public:
    // Bytes of every allocation are rounded up to this, on a GPU to kAlignCuda.
    static constexpr int64_t kAlign = 64, kAlignCuda = 256;

    // Starts as a counting arena for memory of `device`, whose name in messages is `what`.
    Arena() = default;
    Arena(Device device, const char* what) : device_(device), what_(what) {}
    Arena(Arena&&) = default;
    Arena& operator=(Arena&&) = default;

    // Allocates `bytes` and starts handing them out. With `poison` (CPU only), every allocation is filled with NaN patterns
    // and followed by a canary that `release` checks: reads of stale memory and writes past an end show in tests.
    void bind(int64_t bytes, bool poison = false);
    // The same in memory of this arena's device that another owns and that outlives the use of this one. Memory without
    // data, from an arena that counts: this one counts too.
    void bind(const TensorRef& memory, bool poison = false);

    // Frees the memory; the arena counts again.
    void unbind();
    bool counting() const { return base_ == nullptr; }
    // Throws when a bound arena is full: the plan and the run disagreed.
    TensorRef alloc(DType dtype, const Shape& shape);

    int64_t mark() const { return used_; }
    void release(int64_t mark, bool check = true);
    int64_t peak_bytes() const { return peak_; }
    int64_t capacity_bytes() const { return capacity_; }
    Device device() const { return device_; }

  private:
    Device device_ = Device::cpu;
    const char* what_ = "an arena";
    Tensor memory_;
    char* base_ = nullptr;
    int64_t capacity_ = 0, used_ = 0, peak_ = 0;
    bool poison_ = false;
    void check_canaries(int64_t from) const;
};

// Releases on scope exit what was allocated since its construction.
class ArenaScope {
  public:
    explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
    ~ArenaScope() noexcept(false) {
        // No check of canaries, which could throw, while another exception passes.
        arena_.release(mark_, std::uncaught_exceptions() == exceptions_);
    }
    ArenaScope(const ArenaScope&) = delete;
    ArenaScope& operator=(const ArenaScope&) = delete;

  private:
    Arena& arena_;
    int64_t mark_;
    int exceptions_ = std::uncaught_exceptions();
};

}  // namespace adder
