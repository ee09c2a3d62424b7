#include "io/hdf5_heaps.h"

#include <cstdint>
#include <cstring>
#include <string_view>

namespace adder {

namespace {

constexpr std::string_view kBegin("GCOL\1\0\0\0", 8);  // signature, version 1, three reserved bytes
constexpr uint64_t kHeader = 16;                        // of a heap, and of an object in it

template <class T>
T load(const char* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

// `heap` begins with a heap and ends with the file. Object 0 is free space, whose size counts its header.
bool is_sound(std::string_view heap) {
    if (heap.size() < kHeader) return false;
    const auto size = load<uint64_t>(heap.data() + 8);
    if (size < kHeader || size > heap.size()) return false;
    for (uint64_t at = kHeader; size - at >= kHeader;) {
        const auto index = load<uint16_t>(heap.data() + at);
        const auto n_bytes = load<uint64_t>(heap.data() + at + 8);
        if (n_bytes > size) return false;
        const uint64_t taken = index == 0 ? n_bytes : kHeader + (n_bytes + 7) / 8 * 8;
        if (taken < kHeader || taken > size - at) return false;
        at += taken;
    }
    return true;
}

}  // namespace

bool heaps_are_sound(std::span<const std::byte> file) {
    const std::string_view bytes(reinterpret_cast<const char*>(file.data()), file.size());
    for (size_t at = bytes.find(kBegin); at != bytes.npos; at = bytes.find(kBegin, at + 1))
        if (!is_sound(bytes.substr(at))) return false;
    return true;
}

}  // namespace adder
