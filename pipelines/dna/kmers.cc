#include "pipelines/dna/kmers.h"

#include "core/error.h"
#include "pipelines/dna/tokenizer.h"

namespace adder::dna {

KmerFrequencies::KmerFrequencies(int k) : k_(k) {
    if (k < 1 || k > kMostK) fail("[kmers] k = {}; hint: 1 to {}", k, kMostK);
    const int64_t n = int64_t{1} << (2 * k);
    feature_.assign(static_cast<size_t>(n), -1);
    for (int64_t kmer = 0; kmer < n; ++kmer) {
        int64_t reverse = 0;
        for (int i = 0; i < k; ++i) reverse = reverse * 4 + (kBaseT - (kmer >> (2 * i)) % 4);
        // The complement of a base is 3 minus it. The smaller of the two k-mers comes first in this loop.
        feature_[static_cast<size_t>(kmer)] =
            reverse < kmer ? feature_[static_cast<size_t>(reverse)] : static_cast<int32_t>(n_features_++);
    }
}

void KmerFrequencies::of(std::span<const uint8_t> symbols, float* out) const {
    std::vector<int64_t> counts(static_cast<size_t>(n_features_));
    const int64_t mask = (int64_t{1} << (2 * k_)) - 1;
    int64_t kmer = 0, known = 0, total = 0;
    for (const uint8_t symbol : symbols) {
        known = is_base(symbol) ? known + 1 : 0;
        kmer = (kmer * 4 + (symbol & 3)) & mask;
        if (known < k_) continue;
        ++counts[static_cast<size_t>(feature_[static_cast<size_t>(kmer)])];
        ++total;
    }
    for (size_t i = 0; i < counts.size(); ++i)
        out[i] = total > 0 ? static_cast<float>(static_cast<double>(counts[i]) / static_cast<double>(total)) : 0;
}

}  // namespace adder::dna
