#include "pipelines/dna/kmers.h"

#include <algorithm>

#include "core/error.h"

namespace adder::dna {

namespace {

// A 0, C 1, G 2, T 3, so that 3 - code is the complement; -1 for other letters.
int code_of(char letter) {
    switch (letter | 0x20) {
        case 'a':
            return 0;
        case 'c':
            return 1;
        case 'g':
            return 2;
        case 't':
        case 'u':
            return 3;
        default:
            return -1;
    }
}

}  // namespace

KmerFrequencies::KmerFrequencies(int k) : k_(k) {
    if (k < 1 || k > kMostK) fail("[kmers] k = {}; hint: 1 to {}", k, kMostK);
    const int64_t n = int64_t{1} << (2 * k);
    feature_.assign(static_cast<size_t>(n), -1);
    for (int64_t kmer = 0; kmer < n; ++kmer) {
        int64_t reverse = 0;
        for (int i = 0; i < k; ++i) reverse = reverse * 4 + (3 - (kmer >> (2 * i)) % 4);
        // The smaller of the two comes first in this loop.
        feature_[static_cast<size_t>(kmer)] =
            reverse < kmer ? feature_[static_cast<size_t>(reverse)] : static_cast<int32_t>(n_features_++);
    }
}

void KmerFrequencies::of(std::string_view letters, float* out) const {
    std::vector<int64_t> counts(static_cast<size_t>(n_features_));
    const int64_t mask = (int64_t{1} << (2 * k_)) - 1;
    int64_t kmer = 0, known = 0, total = 0;
    for (const char letter : letters) {
        const int code = code_of(letter);
        known = code < 0 ? 0 : known + 1;
        kmer = (kmer * 4 + std::max(code, 0)) & mask;
        if (known < k_) continue;
        ++counts[static_cast<size_t>(feature_[static_cast<size_t>(kmer)])];
        ++total;
    }
    for (size_t i = 0; i < counts.size(); ++i)
        out[i] = total > 0 ? static_cast<float>(static_cast<double>(counts[i]) / static_cast<double>(total)) : 0;
}

}  // namespace adder::dna
