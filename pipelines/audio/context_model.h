// Context models of audio tokens: what a network has to beat before it has learned more than the last few
// samples.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "pipelines/count_table.h"

namespace adder::audio {

// P(s | k symbols before it), with Witten-Bell interpolation (IEEE Trans. Inf. Theory 37, 1991, method C) of
// all shorter contexts down to the uniform one: P_k = (n(c, s) + d(c) P_{k-1}) / (n(c) + d(c)), d the number
// of different symbols seen after c. Of pcm16 the high and the low byte have contexts of their own.
class ContextModel {
  public:
    static constexpr int64_t kMaxOrder = 2;  // 256^3 counts

    // `phases`: symbols a sample. Errors: an order out of range.
    ContextModel(int64_t order, int64_t phases);
    void train(std::span<const uint8_t> symbols);
    // Adds the code length of the symbols from index `first` on, in bits; contexts begin at index 0. Returns
    // how many.
    int64_t score(std::span<const uint8_t> symbols, int64_t first, double& bits);

  private:
    struct Table {
        CountTable counts;                // [phase][context][symbol]
        std::vector<uint64_t> total;      // [phase][context]
        std::vector<uint32_t> different;  // [phase][context]
    };
    // The row of the context before symbols[i], of the last j symbols.
    size_t row(std::span<const uint8_t> symbols, size_t i, size_t j) const;
    void sum_up();

    size_t phases_;
    std::vector<Table> tables_;
    bool summed_ = false;
};

}  // namespace adder::audio
