// Pictures of few colours as PNG files.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace adder {

using Rgb = std::array<uint8_t, 3>;

// `pixels` (height,width) row by row, indices into `palette` of 2 to 256 colours; 4 bits a pixel up to 16
// colours, else 8. width, height >= 1. W3C, "Portable Network Graphics (PNG) Specification", 2003.
std::vector<std::byte> png(int64_t width, int64_t height, std::span<const Rgb> palette,
                           std::span<const uint8_t> pixels);

}  // namespace adder
