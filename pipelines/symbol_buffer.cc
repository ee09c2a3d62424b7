#include "pipelines/symbol_buffer.h"

#include <cstddef>
#include <utility>

#include "core/error.h"

namespace adder {

namespace {
// The C library returns blocks of this size to the system when they are freed, whatever it has seen before.
constexpr std::size_t kBlock = std::size_t{1} << 25;
}  // namespace

void SymbolBuffer::expect(int64_t n) {
    CHECK(size() == 0 && n >= 0);
    expected_ = n;
    std::vector<uint8_t>().swap(last_);
    last_.reserve(static_cast<std::size_t>(n));
}

std::vector<uint8_t>& SymbolBuffer::room() {
    if (last_.size() >= kBlock && size() >= expected_) {
        full_.push_back(std::exchange(last_, {}));
        last_.reserve(kBlock + kBlock / 64);
    }
    return last_;
}

int64_t SymbolBuffer::size() const {
    std::size_t n = last_.size();
    for (const auto& block : full_) n += block.size();
    return static_cast<int64_t>(n);
}

std::vector<uint8_t> SymbolBuffer::take() {
    const bool in_place = full_.empty() && last_.size() == last_.capacity();
    expected_ = 0;
    if (in_place) return std::exchange(last_, {});
    std::vector<uint8_t> all;
    all.reserve(static_cast<std::size_t>(size()));
    for (auto& block : full_) {
        all.insert(all.end(), block.begin(), block.end());
        std::vector<uint8_t>().swap(block);
    }
    full_.clear();
    all.insert(all.end(), last_.begin(), last_.end());
    // A large block is given back: the record that it held stays beside it.
    if (last_.size() < kBlock / 32)
        last_.clear();
    else
        std::vector<uint8_t>().swap(last_);
    return all;
}

}  // namespace adder
