#include "datasets/audio_header.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace adder {

namespace {

uint64_t number(std::string_view bytes, bool big_endian) {
    uint64_t n = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
        const auto byte = static_cast<unsigned char>(bytes[big_endian ? i : bytes.size() - 1 - i]);
        n = n << 8 | byte;
    }
    return n;
}

struct Signature {
    size_t offset;
    std::string_view bytes;
    const char* format;
    bool is_audio = false;  // that other programs convert
};

using namespace std::string_view_literals;

constexpr Signature kForeign[] = {
    {4, "ftyp"sv, "an MP4 file", true},
    {0, "\x1A\x45\xDF\xA3"sv, "a Matroska or WebM file", true},
    {0, "\x30\x26\xB2\x75"sv, "a WMA file", true},
    {0, "#!AMR"sv, "an AMR file", true},
    {0, "\x89PNG"sv, "a PNG picture"},
    {0, "\xFF\xD8\xFF"sv, "a JPEG picture"},
    {0, "PK\x03\x04"sv, "a ZIP archive"},
    {0, "\x1F\x8B"sv, "a gzip file"},
    {0, "%PDF"sv, "a PDF document"},
    {8, "AVI "sv, "an AVI file", true},
    {8, "WEBP"sv, "a WebP picture"},
    {0, "MAC "sv, "a Monkey's Audio file", true},
    {0, "wvpk"sv, "a WavPack file", true},
    {0, "\x89HDF"sv, "an HDF5 file"},
};

// The chunks of RIFF, RIFX, RF64 and AIFF.
class Chunks {
  public:
    explicit Chunks(const AudioInput& input) : input_(input) {
        const std::string head = input.peek(0, 12);
        kind_ = head.substr(0, 4);
        if (head.size() < 12 || (kind_ != "FORM" && kind_ != "RIFF" && kind_ != "RIFX" && kind_ != "RF64"))
            next_ = -1;
    }

    // The beginning of the next chunk's content is read too, as far as it is there.
    bool next() {
        if (next_ < 0) return false;
        constexpr int64_t kHead = 8, kShown = 24;
        const std::string head = input_.peek(next_, kHead + kShown);
        if (head.size() < kHead) return false;
        id = head.substr(0, 4);
        content = head.substr(kHead);
        begin = next_ + kHead;
        size = number(std::string_view(head).substr(4, 4));
        if (id == "ds64" && content.size() >= 16) long_size_ = number(std::string_view(content).substr(8, 8));
        if (id == "data" && kind_ == "RF64" && size == 0xFFFF'FFFF) size = long_size_;
        // Chunks begin at even offsets.
        next_ = size > static_cast<uint64_t>(input_.bytes())
                    ? -1
                    : begin + static_cast<int64_t>(size + (size & 1));
        return true;
    }

    bool is_aiff() const { return kind_ == "FORM"; }
    uint64_t number(std::string_view bytes) const {
        return adder::number(bytes, kind_ == "FORM" || kind_ == "RIFX");
    }
    uint64_t number_at(size_t offset, size_t n) const {
        return number(std::string_view(content).substr(offset, n));
    }

    std::string id, content;
    int64_t begin = 0;
    uint64_t size = 0;

  private:
    const AudioInput& input_;
    std::string kind_;
    int64_t next_ = 12;
    uint64_t long_size_ = 0;  // of RF64
};

// libsndfile takes PCM samples for as wide as their bits, whatever room the header gives them.
std::optional<Unreadable> odd_width(const AudioInput& input) {
    constexpr uint64_t kPcm = 1, kExtensible = 0xFFFE;
    for (Chunks chunk(input); chunk.next();) {
        if (chunk.id != "fmt " || chunk.content.size() < 16) continue;
        const uint64_t tag = chunk.number_at(0, 2), channels = chunk.number_at(2, 2),
                       block = chunk.number_at(12, 2), bits = chunk.number_at(14, 2);
        if (channels == 0) return Unreadable{"has 0 channels", "the header is damaged"};
        if ((tag != kPcm && tag != kExtensible) || block == channels * ((bits + 7) / 8)) return std::nullopt;
        return Unreadable{fmt::format("has samples of {} bits in blocks of {} bytes for {} channels", bits,
                                      block, channels),
                          kConvert};
    }
    return std::nullopt;
}

// The first block of metadata of a FLAC file (RFC 9639, sections 8.1 and 8.2).
struct FlacHeader {
    bool has_info = false;
    uint64_t rate = 0, bits = 0;

    explicit FlacHeader(const AudioInput& input) {
        const std::string head = input.peek(0, 26);
        has_info = head.size() == 26 && head.starts_with("fLaC") && (head[4] & 127) == 0;
        if (!has_info) return;
        const uint64_t fields = number(std::string_view(head).substr(18, 4), true);
        rate = fields >> 12;
        bits = (fields >> 4 & 31) + 1;
    }
};

std::optional<Unreadable> odd_flac(const AudioInput& input) {
    const FlacHeader flac(input);
    if (!flac.has_info || flac.bits == 8 || flac.bits == 16 || flac.bits == 24) return std::nullopt;
    return Unreadable{fmt::format("is FLAC of {} bits", flac.bits),
                      std::string("of 8, 16 and 24 bits it is read; ") + kConvert};
}

// Of 80 bits, as AIFF has it: sign and exponent, then a mantissa with its whole part.
double extended(uint64_t exponent, uint64_t mantissa) {
    return std::ldexp(static_cast<double>(mantissa), static_cast<int>(exponent & 0x7FFF) - 16383 - 63);
}

}  // namespace

std::optional<Unreadable> unreadable_format(const AudioInput& input) {
    const std::string head = input.peek(0, 16);
    for (const Signature& s : kForeign)
        if (head.size() >= s.offset + s.bytes.size() && head.compare(s.offset, s.bytes.size(), s.bytes) == 0)
            return Unreadable{std::string("is ") + s.format, s.is_audio ? kConvert : "leave it out"};
    const auto flac = odd_flac(input);
    return flac ? flac : odd_width(input);
}

std::optional<double> stated_rate(const AudioInput& input) {
    if (const FlacHeader flac(input); flac.has_info) return static_cast<double>(flac.rate);
    for (Chunks chunk(input); chunk.next();) {
        if (chunk.id == "fmt " && chunk.content.size() >= 8)
            return static_cast<double>(chunk.number_at(4, 4));
        if (chunk.id == "COMM" && chunk.is_aiff() && chunk.content.size() >= 18)
            return extended(chunk.number_at(8, 2), chunk.number_at(10, 8));
    }
    return std::nullopt;
}

int64_t unannounced_bytes(const AudioInput& input) {
    for (Chunks chunk(input); chunk.next();) {
        if (chunk.id != (chunk.is_aiff() ? "SSND" : "data") || chunk.size != 0) continue;
        const int64_t behind = input.bytes() - chunk.begin;
        // Another chunk may follow an empty one.
        const auto is_letter = [](char c) { return c == ' ' || std::isalnum(static_cast<unsigned char>(c)); };
        if (!chunk.next()) return behind;
        const bool fits = chunk.begin + static_cast<int64_t>(chunk.size) <= input.bytes();
        return fits && std::all_of(chunk.id.begin(), chunk.id.end(), is_letter) ? 0 : behind;
    }
    return 0;
}

std::string missing_samples(const AudioInput& input) {
    constexpr uint64_t kBlock = 1 << 16, kLargest = 0xFFFF'FFFF, kLargestSigned = 0x7FFF'FFFF;
    for (Chunks chunk(input); chunk.next();) {
        if (chunk.id != (chunk.is_aiff() ? "SSND" : "data")) continue;
        const uint64_t size = chunk.size;
        const bool open_end = (size > kLargest - kBlock && size <= kLargest) ||
                              (size > kLargestSigned - kBlock && size <= kLargestSigned);
        const auto there = static_cast<uint64_t>(input.bytes() - chunk.begin);
        if (open_end || size <= there) return "";
        return fmt::format("the header promises {} bytes of samples, {} are there", size, there);
    }
    return "";
}

}  // namespace adder
