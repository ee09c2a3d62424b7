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
    {28, "\x7F" "FLAC"sv, "FLAC in Ogg", true},
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

// A length that a writer to a pipe could not fill in.
bool is_open_end(uint64_t size) {
    constexpr uint64_t kBlock = 1 << 16, kLargest = 0xFFFF'FFFF, kLargestSigned = 0x7FFF'FFFF;
    return (size > kLargest - kBlock && size <= kLargest) ||
           (size > kLargestSigned - kBlock && size <= kLargestSigned);
}

// Whether what is at this byte may stand behind the samples: nothing to speak of, a chunk that fits or, cut, is
// well known, a tag, or zeros. `size_at` reads the size of a chunk.
template <class SizeAt>
bool may_follow(const AudioInput& input, int64_t at, const SizeAt& size_at) {
    constexpr int64_t kHead = 8, kBlock = 1 << 16;
    constexpr std::string_view kKnown[] = {"LIST", "ID3",  "id3 ", "TAG",  "APETAGEX",
                                           "bext", "cue ", "smpl", "JUNK", "PAD "};
    if (input.bytes() - at < kHead) return true;
    const std::string head = input.peek(at, kHead);
    for (const std::string_view known : kKnown)
        if (head.starts_with(known)) return true;
    const auto is_printed = [](char c) { return std::isprint(static_cast<unsigned char>(c)) != 0; };
    if (std::all_of(head.begin(), head.begin() + 4, is_printed) &&
        size_at(at) <= static_cast<uint64_t>(input.bytes() - at - kHead))
        return true;
    for (; at < input.bytes(); at += kBlock)
        if (input.peek(at, kBlock).find_first_not_of('\0') != std::string::npos) return false;
    return true;
}

// libsndfile gives up on a WAV in which samples stand in several places.
std::optional<Unreadable> second_data(const AudioInput& input) {
    int64_t n = 0;
    for (Chunks chunk(input); chunk.next();) n += chunk.id == "data" && !chunk.is_aiff();
    if (n < 2) return std::nullopt;
    return Unreadable{fmt::format("has {} chunks of samples", n), kConvert};
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
    const std::string head = input.peek(0, 40);
    for (const Signature& s : kForeign)
        if (head.size() >= s.offset + s.bytes.size() && head.compare(s.offset, s.bytes.size(), s.bytes) == 0)
            return Unreadable{std::string("is ") + s.format, s.is_audio ? kConvert : "leave it out"};
    for (const auto check : {odd_flac, odd_width, second_data})
        if (auto found = check(input)) return found;
    return std::nullopt;
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

std::optional<Unannounced> unannounced_samples(const AudioInput& input) {
    for (Chunks chunk(input); chunk.next();) {
        if (chunk.id != (chunk.is_aiff() ? "SSND" : "data")) continue;
        const int64_t there = input.bytes() - chunk.begin;
        if (is_open_end(chunk.size) || chunk.size > static_cast<uint64_t>(there)) return std::nullopt;
        const int64_t end = chunk.begin + static_cast<int64_t>(chunk.size), odd = end & 1;
        const auto size_at = [&](int64_t at) { return chunk.number(input.peek(at + 4, 4)); };
        // Some writers leave the byte of padding out.
        if (may_follow(input, end + odd, size_at) || (odd && may_follow(input, end, size_at))) return std::nullopt;
        return Unannounced{chunk.size, there};
    }
    return std::nullopt;
}

std::optional<int64_t> padded_samples(const AudioInput& input, int64_t frames) {
    constexpr uint64_t kPcm = 1, kFloat = 3, kALaw = 6, kMuLaw = 7, kExtensible = 0xFFFE;
    constexpr int64_t kLongestBlock = 4096;  // samples
    bool in_blocks = false;
    for (Chunks chunk(input); chunk.next();) {
        if (chunk.is_aiff()) return std::nullopt;
        if (chunk.id == "fmt " && chunk.content.size() >= 2) {
            const uint64_t tag = chunk.number_at(0, 2);
            in_blocks = tag != kPcm && tag != kFloat && tag != kALaw && tag != kMuLaw && tag != kExtensible;
        }
        if (chunk.id != "fact" || !in_blocks || chunk.content.size() < 4) continue;
        const auto n = static_cast<int64_t>(chunk.number_at(0, 4));
        if (n > 0 && n < frames && frames - n <= kLongestBlock) return n;
    }
    return std::nullopt;
}

std::string missing_samples(const AudioInput& input) {
    for (Chunks chunk(input); chunk.next();) {
        if (chunk.id != (chunk.is_aiff() ? "SSND" : "data")) continue;
        const auto there = static_cast<uint64_t>(input.bytes() - chunk.begin);
        if (is_open_end(chunk.size) || chunk.size <= there) return "";
        return fmt::format("the header promises {} bytes of samples, {} are there", chunk.size, there);
    }
    return "";
}

}  // namespace adder
