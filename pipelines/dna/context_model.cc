#include "pipelines/dna/context_model.h"

#include <algorithm>
#include <cmath>
#include <ranges>

#include "core/error.h"
#include "pipelines/dna/tokenizer.h"

namespace adder::dna {

namespace {

// Tokens whose weights are looked up at a time.
constexpr int64_t kBlock = 4096;

// The four counts after the last k bases, digits to base 4, begin here.
size_t row_of(uint64_t digits, int k) { return static_cast<size_t>(digits & ((uint64_t{1} << (2 * k)) - 1)) * 4; }

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
};

std::vector<CountTable> no_counts(int longest) {
    std::vector<CountTable> counts;
    for (int k = 0; k <= longest; ++k) counts.emplace_back(size_t{4} << (2 * k));
    return counts;
}

// What was counted under k + 1 bases belongs to the last k of them too.
void add_longer_contexts(std::vector<CountTable>& counts) {
    for (size_t k = counts.size(); k-- > 1;) {
        CountTable& shorter = counts[k - 1];
        const CountTable& longer = counts[k];
        for (size_t first = 0; first < 4; ++first)
            for (size_t i = 0; i < shorter.size(); ++i) shorter.add(i, longer[first * shorter.size() + i]);
    }
}

}  // namespace

ContextModel::ContextModel(int longest, std::span<const std::span<const uint8_t>> segments, double lower_weight)
    : lower_weight_(lower_weight) {
    if (longest < 0 || longest > kMaxOrder)
        fail("[context_model] order: expected 0 to {}, got {}", kMaxOrder, longest);
    upper_ = no_counts(longest);
    if (lower_weight != 0 && lower_weight != 1) lower_ = no_counts(longest);
    for (const auto symbols : segments) {
        count(symbols);
        count(symbols | std::views::reverse | std::views::transform(complement_of));
    }
    add_longer_contexts(upper_);
    add_longer_contexts(lower_);
}

// Under the longest known context only.
template <class Symbols>
void ContextModel::count(const Symbols& symbols) {
    Counts* const of_lower = lower_weight_ == 1 ? &upper_ : lower_.empty() ? nullptr : &lower_;
    Context context;
    for (const uint8_t symbol : symbols) {
        Counts* const counts = symbol & kLower ? of_lower : &upper_;
        if (is_base(symbol) && counts)
            (*counts)[static_cast<size_t>(context.known)].add(row_of(context.digits, context.known) + (symbol & 3u));
        context.push(symbol, longest());
    }
}

std::array<double, 4> ContextModel::row(int k, size_t at) const {
    const auto order = static_cast<size_t>(k);
    std::array<double, 4> counts;
    for (size_t i = 0; i < 4; ++i) {
        counts[i] = static_cast<double>(upper_[order][at + i]);
        if (!lower_.empty()) counts[i] += lower_weight_ * static_cast<double>(lower_[order][at + i]);
    }
    return counts;
}

void ContextModel::add_bits(uint8_t symbol, uint64_t context, int known, double weight,
                            std::span<BitCount> totals) const {
    double p = 0.25, bits = 0;
    for (int k = 0; k <= longest(); ++k) {
        if (k <= known) {
            const std::array<double, 4> n = row(k, row_of(context, k));
            p = (n[symbol & 3] + kPrior * p) / (n[0] + n[1] + n[2] + n[3] + kPrior);
            bits = -std::log2(p);
        }
        totals[static_cast<size_t>(k)].bits += weight * bits;
        totals[static_cast<size_t>(k)].bases += weight;
    }
}

void ContextModel::score(std::span<const uint8_t> symbols, const Tokenizer& tokenizer,
                         std::span<BitCount> totals) const {
    CHECK(totals.size() == upper_.size());
    const auto width = static_cast<size_t>(tokenizer.width());
    const int64_t n_tokens = tokenizer.n_tokens(static_cast<int64_t>(symbols.size()));
    std::array<uint16_t, kBlock> ids;
    std::array<float, kBlock> weights;
    Context context;
    for (int64_t first = 0; first < n_tokens; first += kBlock) {
        const int64_t count = std::min(kBlock, n_tokens - first);
        tokenizer.write(symbols, first, count, false, ids.data(), weights.data());
        if (first == 0) weights[0] = 0;  // it has no token before it
        const auto block = symbols.subspan(static_cast<size_t>(first) * width, static_cast<size_t>(count) * width);
        for (size_t i = 0; i < block.size(); ++i) {
            if (const double weight = weights[i / width]; weight > 0)
                add_bits(block[i], context.digits, context.known, weight, totals);
            context.push(block[i], longest());
        }
    }
}

}  // namespace adder::dna
