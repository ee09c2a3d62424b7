#include "pipelines/packing.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace adder {

namespace {

constexpr uint8_t kCode = 3, kOther = 4, kFlagged = 8;
constexpr int64_t kStride = 32;  // symbols that are packed together where no run begins or ends

}  // namespace

SymbolPacker::SymbolPacker(const PackedAlphabet& alphabet) : alphabet_(alphabet) {
    for (size_t s = 0; s < 256; ++s) {
        const auto symbol = static_cast<uint8_t>(s);
        const bool is_flagged = alphabet.flag != 0 && (symbol & alphabet.flag) == alphabet.flag;
        const auto plain = static_cast<uint8_t>(is_flagged ? symbol & ~alphabet.flag : symbol);
        const auto at = std::find(alphabet.symbols.begin(), alphabet.symbols.end(), plain) - alphabet.symbols.begin();
        kind_[s] = static_cast<uint8_t>((at < 4 ? at : kOther) | (is_flagged ? kFlagged : 0));
    }
}

void SymbolPacker::OpenRun::close(int64_t end, SymbolRuns& runs) {
    runs.gap.push_back(begin - last_end);
    runs.length.push_back(end - begin);
    last_end = end;
    begin = -1;
}

void SymbolPacker::add_one(uint8_t symbol) {
    const uint8_t kind = kind_[symbol];
    if (const bool is_flagged = kind & kFlagged; is_flagged != open_flagged_.is_open()) {
        if (is_flagged) open_flagged_.begin = position_;
        else open_flagged_.close(position_, flagged);
    }
    const auto plain = static_cast<uint8_t>(kind & kFlagged ? symbol & ~alphabet_.flag : symbol);
    const bool is_other = kind & kOther;
    if (open_other_.is_open() && (!is_other || plain != open_symbol_)) {
        open_other_.close(position_, other);
        other_symbol.push_back(open_symbol_);
    }
    if (is_other && !open_other_.is_open()) {
        open_other_.begin = position_;
        open_symbol_ = plain;
    }
    partial_ = static_cast<uint8_t>(partial_ | (kind & kCode) << (2 * (position_ % 4)));
    if (++position_ % 4 == 0) {
        bytes.push_back(partial_);
        partial_ = 0;
    }
}

void SymbolPacker::add(std::span<const uint8_t> symbols) {
    bytes.reserve(bytes.size() + symbols.size() / 4 + 1);
    const auto n = static_cast<int64_t>(symbols.size());
    const uint8_t* from = symbols.data();
    for (int64_t i = 0; i < n;) {
        if (position_ % 4 != 0 || n - i < kStride || open_other_.is_open()) {
            add_one(from[i++]);
            continue;
        }
        std::array<uint8_t, kStride> kind;
        uint8_t any = 0, all = 255;
        for (int64_t j = 0; j < kStride; ++j) {
            const uint8_t k = kind_[from[i + j]];
            kind[static_cast<size_t>(j)] = k;
            any |= k;
            all &= k;
        }
        const uint8_t now = open_flagged_.is_open() ? kFlagged : 0;
        if ((any & ~kCode) != now || (all & ~kCode) != now) {
            for (int64_t j = 0; j < kStride; ++j) add_one(from[i++]);
            continue;
        }
        for (size_t j = 0; j < kStride; j += 4)
            bytes.push_back(static_cast<uint8_t>((kind[j] & kCode) | (kind[j + 1] & kCode) << 2 |
                                                 (kind[j + 2] & kCode) << 4 | (kind[j + 3] & kCode) << 6));
        i += kStride;
        position_ += kStride;
    }
}

void SymbolPacker::finish() {
    if (open_flagged_.is_open()) open_flagged_.close(position_, flagged);
    if (open_other_.is_open()) {
        open_other_.close(position_, other);
        other_symbol.push_back(open_symbol_);
    }
    if (position_ % 4 != 0) bytes.push_back(partial_);
}

void unpack_symbols(const PackedAlphabet& alphabet, std::span<const uint8_t> bytes, int64_t first,
                    std::span<uint8_t> out) {
    const auto n = static_cast<int64_t>(out.size());
    CHECK(first >= 0 && (first + n + 3) / 4 <= static_cast<int64_t>(bytes.size()));
    const auto symbol = [&](int64_t i) {
        return alphabet.symbols[bytes[static_cast<size_t>(i / 4)] >> (2 * (i % 4)) & 3];
    };
    std::array<std::array<uint8_t, 4>, 256> four;
    for (size_t b = 0; b < 256; ++b)
        for (size_t j = 0; j < 4; ++j) four[b][j] = alphabet.symbols[b >> (2 * j) & 3];
    int64_t i = 0;
    for (; i < n && (first + i) % 4 != 0; ++i) out[static_cast<size_t>(i)] = symbol(first + i);
    for (; i + 4 <= n; i += 4)
        std::memcpy(out.data() + i, four[bytes[static_cast<size_t>((first + i) / 4)]].data(), 4);
    for (; i < n; ++i) out[static_cast<size_t>(i)] = symbol(first + i);
}

}  // namespace adder
