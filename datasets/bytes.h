// Bytes of text formats: which of them are blank, and how errors show one.
#pragma once
#include <fmt/format.h>

#include <string>

namespace adder {

// Within a line; '\r' as the end of a line that Windows wrote.
constexpr bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

// "'x'", or "byte 0x0d" of what cannot be seen.
inline std::string describe_byte(char c) {
    const auto u = static_cast<unsigned char>(c);
    return u > 32 && u < 127 ? fmt::format("'{}'", c) : fmt::format("byte 0x{:02x}", u);
}

}  // namespace adder
