// Order-k context models of DNA: the probability of a base given the k bases before it, from counts. What a
// network has to beat before it has learned more than local composition.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace adder::dna {

struct BitCount {
    double bits = 0;
    int64_t bases = 0;
    double per_base() const { return bases > 0 ? bits / static_cast<double>(bases) : 0; }
};

// P(b | context) = (n(context, b) + 1/2) / (n(context) + 2), the estimator of Krichevsky and Trofimov (IEEE
// Trans. Inf. Theory 27, 1981), which has nothing to tune. Where fewer than k bases are known before b (a
// segment's begin, after an N) the longest known context counts instead, from its own table. Targets other
// than A, C, G, T are skipped.
class ContextModel {
  public:
    static constexpr int kMaxOrder = 12;  // 4^13 counts: 268 MB, a third more with the shorter orders

    // Errors: an order outside [0, kMaxOrder].
    explicit ContextModel(int order);
    int order() const { return order_; }
    // Counts the symbols of one segment.
    void train(std::span<const uint8_t> symbols);
    // Adds the code length of a segment's symbols 2..n; counts stay as they are.
    void score(std::span<const uint8_t> symbols, BitCount& total) const;

  private:
    int order_;
    std::vector<std::vector<uint32_t>> counts_;  // [j][context of j bases * 4 + base]
};

}  // namespace adder::dna
