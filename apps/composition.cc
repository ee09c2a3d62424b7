#include "apps/composition.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "datasets/fasta.h"
#include "pipelines/dna/tokenizer.h"

namespace adder {

CompositionCounter::CompositionCounter() {
    for (size_t i = 0; i < kCompositionK.size(); ++i) {
        frequencies_.emplace_back(kCompositionK[i]);
        sums_[i].resize(static_cast<size_t>(frequencies_[i].n_features()));
    }
}

void CompositionCounter::add(std::string_view letters) {
    symbols_.clear();
    dna::BaseCounts ignored;
    dna::encode(letters, symbols_, ignored);
    bases_ += static_cast<int64_t>(symbols_.size());
    for (const uint8_t s : symbols_) ++letters_[std::min<size_t>(s & dna::kBaseBits, 4)];
    for (size_t i = 0; i < kCompositionK.size(); ++i) {
        const auto count = static_cast<double>(symbols_.size()) - kCompositionK[i] + 1;
        if (count <= 0) continue;
        shares_.resize(sums_[i].size());
        frequencies_[i].of(symbols_, shares_.data());
        if (std::accumulate(shares_.begin(), shares_.end(), 0.0) == 0) continue;  // nothing but N
        for (size_t f = 0; f < shares_.size(); ++f) sums_[i][f] += count * static_cast<double>(shares_[f]);
        weights_[i] += count;
    }
}

Composition CompositionCounter::result() const {
    Composition c;
    c.records = records_;
    c.bases = bases_;
    c.acgt = letters_[0] + letters_[1] + letters_[2] + letters_[3];
    c.gc = c.acgt > 0 ? static_cast<double>(letters_[1] + letters_[2]) / static_cast<double>(c.acgt)
                      : std::numeric_limits<double>::quiet_NaN();
    for (size_t i = 0; i < kCompositionK.size(); ++i) {
        c.kmers[i] = sums_[i];
        for (double& share : c.kmers[i]) share /= weights_[i] > 0 ? weights_[i] : 1;
    }
    return c;
}

Composition composition_of(const std::vector<std::string>& files, int64_t most_bases) {
    constexpr size_t kPiece = 1 << 20;  // letters that are counted at once: a reader gives them line by line
    CompositionCounter counter;
    std::string piece;
    int64_t left = most_bases;
    for (const std::string& file : files) {
        if (left <= 0) break;
        FastaReader reader(file);
        FastaRecord record;
        while (left > 0 && reader.next_header(record)) {
            for (std::string_view run; left > 0 && !(run = reader.next_letters()).empty();) {
                run = run.substr(0, static_cast<size_t>(left));
                left -= static_cast<int64_t>(run.size());
                piece += run;
                if (piece.size() < kPiece) continue;
                counter.add(piece);
                piece.clear();
            }
            counter.add(piece);
            piece.clear();
            counter.end_record();
        }
    }
    return counter.result();
}

double divergence_bits(const std::vector<double>& p, const std::vector<double>& q) {
    CHECK(p.size() == q.size());
    const auto empty = [](const std::vector<double>& v) {
        return std::accumulate(v.begin(), v.end(), 0.0) == 0;
    };
    if (empty(p) || empty(q)) return std::numeric_limits<double>::quiet_NaN();
    double bits = 0;
    for (size_t i = 0; i < p.size(); ++i) {
        const double mean = (p[i] + q[i]) / 2;
        if (p[i] > 0) bits += p[i] / 2 * std::log2(p[i] / mean);
        if (q[i] > 0) bits += q[i] / 2 * std::log2(q[i] / mean);
    }
    return std::max(bits, 0.0);
}

}  // namespace adder
