// How often each k-mer occurs in a sequence, on either strand: the features that a model's embeddings have to beat.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace adder::dna {

// A k-mer and its reverse complement count as one, so that a sequence and its other strand have the same features.
class KmerFrequencies {
  public:
    static constexpr int kMostK = 8;

    // Errors: k outside [1, kMostK].
    explicit KmerFrequencies(int k);
    int k() const { return k_; }
    // 2, 10, 32, 136, 512, 2080 for k = 1 .. 6.
    int64_t n_features() const { return n_features_; }
    // Fills `out`, n_features() long, with counts divided by their sum. Symbols are those of tokenizer.h; k-mers
    // with an N do not count. All zero where there are none.
    void of(std::span<const uint8_t> symbols, float* out) const;

  private:
    int k_;
    int64_t n_features_ = 0;
    std::vector<int32_t> feature_;  // of each of the 4^k k-mers
};

}  // namespace adder::dna
