// How often things were counted, for many things.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace adder {

// Small tables have 64 bits a count. Large ones have 32, which are half the memory, and stop at the largest
// number instead of starting again from 0: one of a million contexts would have to come four billion times.
class CountTable {
  public:
    static constexpr size_t kMostWide = size_t{1} << 20;

    // `size` counts of 0.
    explicit CountTable(size_t size) : wide_(size <= kMostWide ? size : 0), narrow_(size <= kMostWide ? 0 : size) {}

    size_t size() const { return wide_.size() + narrow_.size(); }
    uint64_t operator[](size_t i) const { return wide_.empty() ? narrow_[i] : wide_[i]; }
    void add(size_t i, uint64_t n = 1) {
        constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();
        if (!wide_.empty())
            wide_[i] += n;
        else
            narrow_[i] = static_cast<uint32_t>(std::min(narrow_[i] + std::min(n, kMost), kMost));
    }

  private:
    std::vector<uint64_t> wide_;
    std::vector<uint32_t> narrow_;
};

}  // namespace adder
