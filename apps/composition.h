// Of which letters and k-mers DNA is made, to lay generated sequences beside what a model was trained on.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/dna/kmers.h"

namespace adder {

// The k whose k-mers are counted; a k-mer and its reverse complement are one.
inline constexpr std::array<int, 4> kCompositionK = {2, 3, 4, 6};

struct Composition {
    int64_t records = 0, bases = 0, acgt = 0;
    double gc = 0;  // share of C and G among A, C, G and T; NaN without any
    std::array<std::vector<double>, kCompositionK.size()>
        kmers;  // shares, that sum to 1 (or are 0 without k-mers)
};

class CompositionCounter {
  public:
    CompositionCounter();
    // Letters of one record, in order; k-mers across two calls are not counted.
    void add(std::string_view letters);
    void end_record() { ++records_; }
    int64_t bases() const { return bases_; }
    Composition result() const;

  private:
    std::vector<dna::KmerFrequencies> frequencies_;
    std::array<std::vector<double>, kCompositionK.size()> sums_;
    std::array<double, kCompositionK.size()> weights_{};
    std::array<int64_t, 5> letters_{};  // A C G T, others
    int64_t records_ = 0, bases_ = 0;
    std::vector<uint8_t> symbols_;
    std::vector<float> shares_;
};

// The first `most_bases` of FASTA files, in constant memory. Errors: those of FastaReader.
Composition composition_of(const std::vector<std::string>& files, int64_t most_bases);

// Jensen-Shannon divergence of two distributions, in bits: 0 = equal, 1 = nothing in common. NaN where one is
// empty. Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37, 1991.
double divergence_bits(const std::vector<double>& p, const std::vector<double>& q);

}  // namespace adder
