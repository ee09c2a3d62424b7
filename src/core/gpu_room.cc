#include "core/gpu_room.h"

#include <fmt/core.h>

#include "core/bytes_text.h"

namespace adder {

std::string text_of(const GpuRoom& room) {
    if (room.total_bytes == 0) return "the GPU does not say how much is free";
    return fmt::format("{} of {} are free on {}", bytes_text(room.free_bytes), bytes_text(room.total_bytes), room.name);
}

std::string others_text(const GpuRoom& room) {
    if (room.free_bytes >= room.total_bytes / 4 * 3) return "";
    return fmt::format("; {}, other programs hold the rest", text_of(room));
}

}  // namespace adder
