#include "core/bytes_text.h"

#include <fmt/core.h>

namespace adder {

std::string bytes_text(int64_t bytes) {
    const auto b = static_cast<double>(bytes);
    if (bytes >= int64_t{1} << 30) return fmt::format("{:.2f} GiB", b / (int64_t{1} << 30));
    if (bytes >= 1 << 20) return fmt::format("{:.1f} MiB", b / (1 << 20));
    return fmt::format("{:.1f} KiB", b / (1 << 10));
}

}  // namespace adder
