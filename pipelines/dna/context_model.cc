#include "pipelines/dna/context_model.h"

#include <algorithm>
#include <cmath>
#include <ranges>

#include "core/error.h"
#include "pipelines/dna/tokenizer.h"

namespace adder::dna {

namespace {

// The bases just before the present one, as digits to base 4, and how many of them are known.
struct Context {
    uint64_t digits = 0;
    int known = 0;

    void push(uint8_t symbol, int longest) {
        if (!is_base(symbol)) {
            known = 0;
            return;
        }
        digits = digits << 2 | static_cast<uint64_t>(symbol & 3);
        known = std::min(known + 1, longest);
    }
    // The four counts after the last k bases begin here.
    size_t row(int k) const { return static_cast<size_t>(digits & ((uint64_t{1} << (2 * k)) - 1)) * 4; }
};

}  // namespace

ContextModel::ContextModel(int longest, std::span<const std::span<const uint8_t>> segments) {
    if (longest < 0 || longest > kMaxOrder)
        fail("[context_model] order: expected 0 to {}, got {}", kMaxOrder, longest);
    for (int k = 0; k <= longest; ++k) counts_.emplace_back(size_t{4} << (2 * k));
    for (const auto symbols : segments) {
        count(symbols);
        count(symbols | std::views::reverse | std::views::transform(complement_of));
    }
    add_longer_contexts();
}

// Under the longest known context only.
template <class Symbols>
void ContextModel::count(const Symbols& symbols) {
    Context context;
    for (const uint8_t symbol : symbols) {
        if (is_base(symbol)) counts_[static_cast<size_t>(context.known)].add(context.row(context.known) + (symbol & 3u));
        context.push(symbol, longest());
    }
}

// What was counted under k + 1 bases belongs to the last k of them too.
void ContextModel::add_longer_contexts() {
    for (size_t k = counts_.size() - 1; k > 0; --k) {
        CountTable& shorter = counts_[k - 1];
        const CountTable& longer = counts_[k];
        for (size_t first = 0; first < 4; ++first)
            for (size_t i = 0; i < shorter.size(); ++i) shorter.add(i, longer[first * shorter.size() + i]);
    }
}

void ContextModel::score(std::span<const uint8_t> symbols, std::span<BitCount> totals) const {
    CHECK(totals.size() == counts_.size());
    Context context;
    for (size_t i = 0; i < symbols.size(); ++i) {
        const uint8_t symbol = symbols[i];
        if (i > 0 && is_base(symbol)) {
            double p = 0.25, bits = 0;
            for (int k = 0; k <= longest(); ++k) {
                if (k <= context.known) {
                    const CountTable& counts = counts_[static_cast<size_t>(k)];
                    const size_t row = context.row(k);
                    double n = 0, all = 0;
                    for (size_t base = 0; base < 4; ++base) {
                        const auto count = static_cast<double>(counts[row + base]);
                        all += count;
                        if (base == (symbol & 3u)) n = count;
                    }
                    p = (n + kPrior * p) / (all + kPrior);
                    bits = -std::log2(p);
                }
                totals[static_cast<size_t>(k)].bits += bits;
                ++totals[static_cast<size_t>(k)].bases;
            }
        }
        context.push(symbol, longest());
    }
}

}  // namespace adder::dna
