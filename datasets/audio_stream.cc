#include "datasets/audio_stream.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

namespace adder {

namespace {

// A file read in order, in blocks.
class Window {
  public:
    explicit Window(const AudioInput& input) : input_(input) {}

    // Bytes [offset, offset + n), fewer at the end; valid until the next call.
    std::string_view at(int64_t offset, int64_t n) {
        if (offset < begin_ || offset + n > begin_ + std::ssize(block_)) {
            constexpr int64_t kBlockBytes = 1 << 20;
            begin_ = offset;
            block_ = input_.peek(offset, std::max(n, kBlockBytes));
        }
        const std::string_view all(block_);
        return all.substr(static_cast<size_t>(offset - begin_), static_cast<size_t>(n));
    }
    int64_t bytes() const { return input_.bytes(); }

  private:
    const AudioInput& input_;
    int64_t begin_ = 0;
    std::string block_;
};

uint32_t byte(std::string_view bytes, size_t i) {
    return static_cast<unsigned char>(bytes[i]);
}

uint32_t little_endian(std::string_view bytes, size_t at) {
    return byte(bytes, at) | byte(bytes, at + 1) << 8 | byte(bytes, at + 2) << 16 | byte(bytes, at + 3) << 24;
}

uint32_t big_endian(std::string_view bytes, size_t at) {
    return byte(bytes, at + 3) | byte(bytes, at + 2) << 8 | byte(bytes, at + 1) << 16 | byte(bytes, at) << 24;
}

// Checksum of a page: generator 0x04c11db7, most significant bit first, its own field as zeros.
uint32_t page_checksum(std::string_view page) {
    static const auto table = [] {
        std::array<uint32_t, 256> t{};
        for (uint32_t i = 0; i < 256; ++i) {
            uint32_t r = i << 24;
            for (int bit = 0; bit < 8; ++bit) r = (r << 1) ^ (r >> 31 ? 0x04c11db7u : 0u);
            t[i] = r;
        }
        return t;
    }();
    constexpr size_t kField = 22;
    uint32_t sum = 0;
    for (size_t i = 0; i < page.size(); ++i) {
        const uint32_t b = i >= kField && i < kField + 4 ? 0 : byte(page, i);
        sum = sum << 8 ^ table[(sum >> 24 ^ b) & 255];
    }
    return sum;
}

}  // namespace

std::string damage_of_ogg(const AudioInput& input) {
    constexpr int64_t kHead = 27, kMostSegments = 255;
    constexpr uint32_t kBegin = 2, kEnd = 4;
    Window file(input);
    std::map<uint32_t, uint32_t> open;  // stream -> number of its next page
    bool any = false;
    int64_t at = 0;
    while (at < file.bytes()) {
        std::string_view head = file.at(at, kHead + kMostSegments);
        if (!head.starts_with("OggS")) {
            if (any && open.empty()) return "";
            return fmt::format("no page of Ogg begins at byte {}", at);
        }
        const auto cut = [&] { return fmt::format("ends within the page of Ogg at byte {}", at); };
        if (std::ssize(head) < kHead) return cut();
        const auto n_segments = static_cast<int64_t>(byte(head, 26));
        if (std::ssize(head) < kHead + n_segments) return cut();
        int64_t size = kHead + n_segments;
        for (int64_t i = 0; i < n_segments; ++i) size += byte(head, static_cast<size_t>(kHead + i));
        if (size > file.bytes() - at) return cut();
        const std::string_view page = file.at(at, size);
        if (little_endian(page, 22) != page_checksum(page))
            return fmt::format("the page of Ogg at byte {} has another checksum", at);
        const uint32_t flags = byte(page, 5), stream = little_endian(page, 14),
                       number = little_endian(page, 18);
        if (flags & kBegin) {
            if (any && open.empty()) return fmt::format("another stream of Ogg begins at byte {}", at);
            open[stream] = number;
        }
        const auto it = open.find(stream);
        if (it == open.end() || it->second != number)
            return fmt::format("pages of Ogg are missing before byte {}", at);
        ++it->second;
        if (flags & kEnd) open.erase(it);
        any = true;
        at += size;
    }
    return open.empty() ? "" : fmt::format("ends after {} bytes without a last page of Ogg", at);
}

namespace {

struct MpegFrame {
    int64_t bytes = 0;
    uint32_t fixed = 0;  // what all frames of a stream share: version, layer, rate
    bool mono = false, mpeg1 = false;
};

// Of a frame's header; none where there is no frame, or one of a length that it does not say ("free format").
std::optional<MpegFrame> frame_at(std::string_view head) {
    // kbit/s of layers I, II, III of MPEG 1, and of I, II and III of MPEG 2.
    static constexpr int kBitRates[5][15] = {
        {0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},
        {0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
        {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
        {0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},
        {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}};
    static constexpr int kRates[3] = {44100, 48000, 32000};
    if (head.size() < 4) return std::nullopt;
    const uint32_t h = big_endian(head, 0);
    const uint32_t version = h >> 19 & 3, layer = 4 - (h >> 17 & 3), bit_rate = h >> 12 & 15,
                   rate = h >> 10 & 3;
    if (h >> 21 != 0x7FF || version == 1 || layer == 4 || bit_rate == 0 || bit_rate == 15 || rate == 3)
        return std::nullopt;
    const bool mpeg1 = version == 3;
    const int row = mpeg1 ? static_cast<int>(layer) - 1 : layer == 1 ? 3 : 4;
    const int64_t bits = int64_t{1000} * kBitRates[row][bit_rate];
    const int64_t hz = kRates[rate] / (mpeg1 ? 1 : version == 2 ? 2 : 4), padding = h >> 9 & 1;
    MpegFrame f{.fixed = h & 0xFFFE0C00, .mono = (h >> 6 & 3) == 3, .mpeg1 = mpeg1};
    if (layer == 1)
        f.bytes = (12 * bits / hz + padding) * 4;
    else
        f.bytes = (layer == 3 && !mpeg1 ? 72 : 144) * bits / hz + padding;
    return f;
}

// Bytes of an ID3 tag of version 2 at the front, 0 where there is none.
int64_t id3_bytes(std::string_view head) {
    if (head.size() < 10 || !head.starts_with("ID3")) return 0;
    int64_t n = 0;
    for (size_t i = 6; i < 10; ++i) n = n << 7 | (byte(head, i) & 127);
    return 10 + n + (byte(head, 5) & 16 ? 10 : 0);
}

bool is_tag(std::string_view bytes) {
    return bytes.starts_with("TAG") || bytes.starts_with("APETAGEX") || bytes.starts_with("LYRICS") ||
           bytes.find_first_not_of('\0') == bytes.npos;
}

struct Promise {
    int64_t frames = -1, bytes = -1;
};

// In the first frame, behind the room of its side information.
std::optional<Promise> promise_of(std::string_view frame, const MpegFrame& f) {
    const size_t at = 4 + (f.mpeg1 ? (f.mono ? 17 : 32) : (f.mono ? 9 : 17));
    if (frame.size() < at + 16) return std::nullopt;
    const std::string_view name = frame.substr(at, 4);
    if (name != "Xing" && name != "Info") return std::nullopt;
    const uint32_t flags = big_endian(frame, at + 4);
    Promise p;
    size_t next = at + 8;
    if (flags & 1) p.frames = big_endian(frame, next), next += 4;
    if (flags & 2) p.bytes = big_endian(frame, next);
    return p;
}

// Where the first of two frames begins, one behind the other; what encoders put before them is skipped.
int64_t first_frame(Window& file) {
    constexpr int64_t kMostBefore = 1 << 16;
    int64_t begin = 0;
    while (const int64_t tag = id3_bytes(file.at(begin, 10))) begin += tag;
    for (int64_t at = begin; at < std::min(file.bytes(), begin + kMostBefore); ++at) {
        const auto frame = frame_at(file.at(at, 4));
        if (!frame) continue;
        const auto next = frame_at(file.at(at + frame->bytes, 4));
        if (at + frame->bytes >= file.bytes() || (next && next->fixed == frame->fixed)) return at;
    }
    return -1;
}

}  // namespace

std::string damage_of_mpeg(const AudioInput& input) {
    Window file(input);
    const int64_t begin = first_frame(file);
    if (begin < 0) return "";  // of a free format, which the decoder finds its way in alone
    const MpegFrame first = *frame_at(file.at(begin, 4));
    const std::optional<Promise> promised = promise_of(file.at(begin, first.bytes), first);
    int64_t n_frames = 0, at = begin;
    while (at < file.bytes()) {
        if (const auto frame = frame_at(file.at(at, 4)); frame && frame->fixed == first.fixed) {
            if (frame->bytes > file.bytes() - at)
                return fmt::format("ends within the frame of MPEG audio at byte {}", at);
            at += frame->bytes;
            ++n_frames;
        } else if (const int64_t tag = id3_bytes(file.at(at, 10))) {
            at += tag;
        } else if (is_tag(file.at(at, 8))) {
            break;
        } else {
            return fmt::format("no frame of MPEG audio begins at byte {}", at);
        }
    }
    if (!promised) return "";
    // Whether the frame that promises is one of them, encoders do not agree.
    if (promised->frames > n_frames)
        return fmt::format("holds {} of {} frames of MPEG audio", n_frames, promised->frames);
    if (promised->bytes > file.bytes() - begin)
        return fmt::format("holds {} of {} bytes of MPEG audio", file.bytes() - begin, promised->bytes);
    return "";
}

}  // namespace adder
