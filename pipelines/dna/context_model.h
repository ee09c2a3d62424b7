// Context models of DNA: the probability of a base given the bases before it, from counts. What a network has to beat before
// it has learned more than local composition and repeats.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "pipelines/count_table.h"
#include "pipelines/tokenizer.h"

namespace adder::dna {

// Sums over bases, each as often as it counts.
struct BitCount {
    double bits = 0;
    double bases = 0;
    double per_base() const { return bases > 0 ? bits / bases : 0; }
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

    // Learns from the symbols of these segments as the network does, in whose loss a lower-case base counts `lower_weight`
    // times: n above is a sum of these weights. With weight 0 such a base is the context of others and no more. Errors: an
    // order outside [0, kMaxOrder].
    ContextModel(int longest, std::span<const std::span<const uint8_t>> segments, double lower_weight = 1);
    int longest() const { return static_cast<int>(upper_.size()) - 1; }
    // Adds the code lengths of the bases of tokens 2..n of a segment under the models of orders 0 to `longest` to
    // totals[order], each as often as `tokenizer` has its token count: the targets of the network and their weights.
    void score(std::span<const uint8_t> symbols, const Tokenizer& tokenizer, std::span<BitCount> totals) const;

  private:
    using Counts = std::vector<CountTable>;  // [k][context of k bases * 4 + base]

    template <class Symbols>
    void count(const Symbols& symbols);
    void add_bits(uint8_t symbol, uint64_t context, int known, double weight, std::span<BitCount> totals) const;
    std::array<double, 4> row(int k, size_t at) const;

    Counts upper_;  // of all bases where all count the same
    Counts lower_;  // of lower-case bases; empty where they count as the others do, or not at all
    double lower_weight_;
};

}  // namespace adder::dna
