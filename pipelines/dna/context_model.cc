#include "pipelines/dna/context_model.h"

#include <algorithm>
#include <cmath>

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
    // The four counts after the last j bases begin here.
    size_t row(int j) const { return static_cast<size_t>(digits & ((uint64_t{1} << (2 * j)) - 1)) * 4; }
};

}  // namespace

ContextModel::ContextModel(int order) : order_(order) {
    if (order < 0 || order > kMaxOrder) {
        fail("[context_model] order: expected 0 to {}, got {}", kMaxOrder, order);
    }
    for (int j = 0; j <= order; ++j) counts_.emplace_back(size_t{4} << (2 * j));
}

void ContextModel::train(std::span<const uint8_t> symbols) {
    Context context;
    for (const uint8_t symbol : symbols) {
        if (is_base(symbol)) {
            for (int j = 0; j <= context.known; ++j) {
                ++counts_[static_cast<size_t>(j)][context.row(j) + static_cast<size_t>(symbol & 3)];
            }
        }
        context.push(symbol, order_);
    }
}

void ContextModel::score(std::span<const uint8_t> symbols, BitCount& total) const {
    Context context;
    for (size_t i = 0; i < symbols.size(); ++i) {
        const uint8_t symbol = symbols[i];
        if (i > 0 && is_base(symbol)) {
            const uint32_t* n =
                counts_[static_cast<size_t>(context.known)].data() + context.row(context.known);
            const double all = static_cast<double>(n[0]) + n[1] + n[2] + n[3];
            total.bits -= std::log2((n[symbol & 3] + 0.5) / (all + 2));
            ++total.bases;
        }
        context.push(symbol, order_);
    }
}

}  // namespace adder::dna
