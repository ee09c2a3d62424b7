// Context models of DNA: the probability of a base given the bases before it, from counts. What a network has to beat before
// it has learned more than local composition and repeats.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "pipelines/count_table.h"

namespace adder::dna {

struct BitCount {
    double bits = 0;
    int64_t bases = 0;
    double per_base() const { return bases > 0 ? bits / static_cast<double>(bases) : 0; }
};

// Models of all orders up to the longest, learned from both strands, with back-off by interpolation: with c_k the last k bases,
//     P_k(b) = (n(c_k, b) + a P_{k-1}(b)) / (n(c_k) + a),   P_{-1}(b) = 1/4,   a = kPrior,
// the Dirichlet prior around the next shorter context of MacKay and Peto, "A hierarchical Dirichlet language model" (Nat. Lang.
// Eng. 1, 1995). Where fewer than k bases are known before b (a segment's begin, after an N) P_k is that of the longest known
// context. Targets other than A, C, G, T are skipped.
class ContextModel {
  public:
    static constexpr int kMaxOrder = 12;     // 4^13 counts: 268 MB, a third more with the shorter orders
    static constexpr double kPrior = 256;  // of 4, 16, 64, 256, 1024 the best on held-out parts of E. coli, yeast and human

    // Counts the symbols of these segments. Errors: an order outside [0, kMaxOrder].
    ContextModel(int longest, std::span<const std::span<const uint8_t>> segments);
    int longest() const { return static_cast<int>(counts_.size()) - 1; }
    // Adds the code lengths of symbols 2..n of a segment under the models of orders 0 to `longest` to totals[order].
    void score(std::span<const uint8_t> symbols, std::span<BitCount> totals) const;

  private:
    template <class Symbols>
    void count(const Symbols& symbols);
    void add_longer_contexts();

    std::vector<CountTable> counts_;  // [k][context of k bases * 4 + base]
};

}  // namespace adder::dna
