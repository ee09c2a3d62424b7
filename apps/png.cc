#include "apps/png.h"

#include <zlib.h>

#include <string>

#include "core/error.h"

namespace adder {

namespace {

std::string big_endian(int64_t n) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(n >> shift & 0xff);
    return bytes;
}

// Length, type, data, and the CRC of type and data.
std::string chunk(const std::string& type, const std::string& data) {
    const std::string body = type + data;
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
    return big_endian(static_cast<int64_t>(data.size())) + body + big_endian(static_cast<int64_t>(crc));
}

std::string deflated(const std::string& bytes) {
    uLongf size = compressBound(static_cast<uLong>(bytes.size()));
    std::string out(size, '\0');
    CHECK(compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()),
                    static_cast<uLong>(bytes.size()), Z_BEST_COMPRESSION) == Z_OK);
    out.resize(size);
    return out;
}

}  // namespace

std::vector<std::byte> png(int64_t width, int64_t height, std::span<const Rgb> palette,
                           std::span<const uint8_t> pixels) {
    CHECK(width >= 1 && height >= 1 && static_cast<int64_t>(pixels.size()) == width * height);
    CHECK(palette.size() >= 2 && palette.size() <= 256);
    const bool nibbles = palette.size() <= 16;
    std::string colours, rows;
    for (const Rgb& c : palette) colours.append(c.begin(), c.end());
    for (int64_t y = 0; y < height; ++y) {
        rows += '\0';  // no filter
        for (int64_t x = 0; x < width; ++x) {
            const uint8_t pixel = pixels[static_cast<size_t>(y * width + x)];
            CHECK(pixel < palette.size());
            if (!nibbles)
                rows += static_cast<char>(pixel);
            else if (x % 2 == 0)
                rows += static_cast<char>(pixel << 4);
            else
                rows.back() = static_cast<char>(rows.back() | pixel);
        }
    }
    // Bits a sample, colour type 3: palette; the only methods there are; not interlaced.
    const std::string header =
        big_endian(width) + big_endian(height) + std::string{nibbles ? '\4' : '\10', '\3', '\0', '\0', '\0'};
    const std::string file = "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + chunk("PLTE", colours) +
                             chunk("IDAT", deflated(rows)) + chunk("IEND", "");
    const auto bytes = std::as_bytes(std::span(file));
    return {bytes.begin(), bytes.end()};
}

}  // namespace adder
