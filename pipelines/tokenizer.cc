#include "pipelines/tokenizer.h"

#include <utility>

#include "core/error.h"

namespace adder {

SymbolTokenizer::SymbolTokenizer(TokenSpace space, const SymbolTable& table)
    : Tokenizer(std::move(space)), table_(table) {
    CHECK(width() == 1 && !(two_strands() && table_.odd_offset > 0));
}

void SymbolTokenizer::write(std::span<const uint8_t> symbols, int64_t first, int64_t count, bool reverse, uint16_t* ids,
                            float* weights) const {
    CHECK(first >= 0 && count >= 0 && first + count <= static_cast<int64_t>(symbols.size()));
    CHECK(two_strands() || !reverse);
    const uint8_t* from = symbols.data() + first;
    if (reverse) {
        for (int64_t i = 0; i < count; ++i) {
            const uint8_t symbol = table_.complement[from[count - 1 - i]];
            ids[i] = table_.id[symbol];
            weights[i] = table_.weight[symbol];
        }
        return;
    }
    for (int64_t i = 0; i < count; ++i) {
        ids[i] = table_.id[from[i]];
        weights[i] = table_.weight[from[i]];
    }
    if (table_.odd_offset == 0) return;
    for (int64_t i = 1 - first % 2; i < count; i += 2) ids[i] = static_cast<uint16_t>(ids[i] + table_.odd_offset);
}

}  // namespace adder
