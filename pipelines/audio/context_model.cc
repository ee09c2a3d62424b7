#include "pipelines/audio/context_model.h"

#include <cmath>

#include "core/error.h"

namespace adder::audio {

namespace {
constexpr size_t kSymbols = 256;
}  // namespace

ContextModel::ContextModel(int64_t order, int64_t phases) : phases_(static_cast<size_t>(phases)) {
    if (order < 0 || order > kMaxOrder)
        fail("[context_model] order: audio has contexts of 0 to {} symbols, got {}", kMaxOrder, order);
    size_t contexts = 1;
    for (int64_t j = 0; j <= order; ++j, contexts *= kSymbols) {
        const size_t n = phases_ * contexts;
        tables_.push_back({CountTable(n * kSymbols), std::vector<uint64_t>(n), std::vector<uint32_t>(n)});
    }
}

size_t ContextModel::row(std::span<const uint8_t> symbols, size_t i, size_t j) const {
    size_t context = i % phases_;
    for (size_t k = i - j; k < i; ++k) context = context * kSymbols + symbols[k];
    return context;
}

void ContextModel::train(std::span<const uint8_t> symbols) {
    summed_ = false;
    for (size_t i = 0; i < symbols.size(); ++i)
        for (size_t j = 0; j < tables_.size() && j <= i; ++j)
            tables_[j].counts.add(row(symbols, i, j) * kSymbols + symbols[i]);
}

void ContextModel::sum_up() {
    for (Table& t : tables_)
        for (size_t c = 0; c < t.total.size(); ++c) {
            t.total[c] = t.different[c] = 0;
            for (size_t symbol = 0; symbol < kSymbols; ++symbol) {
                const uint64_t n = t.counts[c * kSymbols + symbol];
                t.total[c] += n;
                t.different[c] += n > 0;
            }
        }
    summed_ = true;
}

int64_t ContextModel::score(std::span<const uint8_t> symbols, int64_t first, double& bits) {
    if (!summed_) sum_up();
    int64_t n = 0;
    for (size_t i = static_cast<size_t>(first); i < symbols.size(); ++i, ++n) {
        double p = 1.0 / kSymbols;
        for (size_t j = 0; j < tables_.size() && j <= i; ++j) {
            const Table& t = tables_[j];
            const size_t c = row(symbols, i, j);
            const double total = static_cast<double>(t.total[c]), different = t.different[c];
            const auto seen = static_cast<double>(t.counts[c * kSymbols + symbols[i]]);
            if (total > 0) p = (seen + different * p) / (total + different);
        }
        bits -= std::log2(p);
    }
    return n;
}

}  // namespace adder::audio
