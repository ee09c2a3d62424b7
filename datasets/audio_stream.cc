#include "datasets/audio_stream.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
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

template <class... Args>
Damage damaged(fmt::format_string<Args...> format, Args&&... args) {
    return Unreadable{fmt::format(format, std::forward<Args>(args)...),
                      "the file was cut or damaged, copy it again"};
}

}  // namespace

Damage damage_of_ogg(const AudioInput& input) {
    constexpr int64_t kHead = 27, kMostSegments = 255;
    constexpr uint32_t kBegin = 2, kEnd = 4;
    Window file(input);
    std::map<uint32_t, uint32_t> open;  // stream -> number of its next page
    bool any = false;
    int64_t at = 0;
    while (at < file.bytes()) {
        std::string_view head = file.at(at, kHead + kMostSegments);
        if (!head.starts_with("OggS")) {
            if (any && open.empty()) return std::nullopt;
            return damaged("no page of Ogg begins at byte {}", at);
        }
        const auto cut = [&] { return damaged("ends within the page of Ogg at byte {}", at); };
        if (std::ssize(head) < kHead) return cut();
        const auto n_segments = static_cast<int64_t>(byte(head, 26));
        if (std::ssize(head) < kHead + n_segments) return cut();
        int64_t size = kHead + n_segments;
        for (int64_t i = 0; i < n_segments; ++i) size += byte(head, static_cast<size_t>(kHead + i));
        if (size > file.bytes() - at) return cut();
        const std::string_view page = file.at(at, size);
        if (little_endian(page, 22) != page_checksum(page))
            return damaged("the page of Ogg at byte {} has another checksum", at);
        const uint32_t flags = byte(page, 5), stream = little_endian(page, 14),
                       number = little_endian(page, 18);
        if (flags & kBegin) {
            if (any && open.empty())
                return Unreadable{
                    fmt::format("another stream of Ogg begins at byte {}", at),
                    fmt::format("several streams one after another are not read; split it, or {}", kConvert)};
            open[stream] = number;
        }
        const auto it = open.find(stream);
        if (it == open.end() || it->second != number)
            return damaged("pages of Ogg are missing before byte {}", at);
        ++it->second;
        if (flags & kEnd) open.erase(it);
        any = true;
        at += size;
    }
    if (open.empty()) return std::nullopt;
    return damaged("ends after {} bytes without a last page of Ogg", at);
}

namespace {

struct MpegFrame {
    int64_t bytes = 0, samples = 0;  // of a channel
    uint32_t fixed = 0;              // what all frames of a stream share: version, layer, rate
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
    f.samples = layer == 1 ? 384 : layer == 3 && !mpeg1 ? 576 : 1152;
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

// Bytes of a tag behind the frames, 0 where there is none: ID3 of version 1, enhanced or not, or APE with its
// header.
int64_t last_tag_bytes(std::string_view head) {
    if (head.starts_with("TAG+")) return 227;
    if (head.starts_with("TAG")) return 128;
    return head.size() >= 16 && head.starts_with("APETAGEX") ? 32 + int64_t{little_endian(head, 12)} : 0;
}

bool is_filler(std::string_view bytes) {
    return bytes.starts_with("LYRICS") || bytes.find_first_not_of('\0') == bytes.npos;
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

struct MpegFrames {
    int64_t n = 0;
    int64_t second = -1;  // where another first frame with a promise is
    Damage damage = std::nullopt;
};

// All frames from byte `at` on that are like `first`, and the tags between and behind them.
MpegFrames count_frames(Window& file, int64_t at, const MpegFrame& first) {
    MpegFrames frames;
    bool tagged = false;
    while (at < file.bytes()) {
        const std::string_view head = file.at(at, 16);
        if (const auto frame = frame_at(head); frame && frame->fixed == first.fixed) {
            if (frame->bytes > file.bytes() - at) {
                frames.damage = damaged("ends within the frame of MPEG audio at byte {}", at);
                return frames;
            }
            if (frames.n > 0 && frames.second < 0 && promise_of(file.at(at, frame->bytes), *frame))
                frames.second = at;
            at += frame->bytes;
            ++frames.n;
        } else if (const int64_t tag = id3_bytes(head)) {
            at += tag;
        } else if (const int64_t last_tag = last_tag_bytes(head)) {
            at += last_tag;
            tagged = true;  // what is behind it may be anything
        } else if (tagged || is_filler(head.substr(0, 8))) {
            break;
        } else {
            frames.damage = damaged("no frame of MPEG audio begins at byte {}", at);
            return frames;
        }
    }
    return frames;
}

}  // namespace

Damage damage_of_mpeg(const AudioInput& input, int64_t decoded) {
    Window file(input);
    const int64_t begin = first_frame(file);
    if (begin < 0) return std::nullopt;  // of a free format, which the decoder finds its way in alone
    const MpegFrame first = *frame_at(file.at(begin, 4));
    const Promise promised = promise_of(file.at(begin, first.bytes), first).value_or(Promise{});
    const MpegFrames frames = count_frames(file, begin, first);
    if (frames.damage) return frames.damage;
    if (frames.second >= 0)
        return Unreadable{fmt::format("another stream of MPEG audio begins at byte {}", frames.second),
                          kConvert};
    // Whether the frame that promises is one of them, encoders do not agree.
    if (promised.frames > frames.n)
        return damaged("holds {} of {} frames of MPEG audio", frames.n, promised.frames);
    if (promised.frames >= 0 && promised.frames < frames.n - 1)
        return Unreadable{
            fmt::format("holds {} frames of MPEG audio, its header says {}", frames.n, promised.frames),
            kConvert};
    if (promised.bytes > file.bytes() - begin)
        return damaged("holds {} of {} bytes of MPEG audio", file.bytes() - begin, promised.bytes);
    // A guess is right to within the delay of encoder and decoder.
    constexpr int64_t kDelayFrames = 2;
    if (promised.frames < 0 && decoded >= 0 && decoded < (frames.n - kDelayFrames) * first.samples)
        return Unreadable{fmt::format("a variable bit rate without its length: {} of {} samples can be read",
                                      decoded, frames.n * first.samples),
                          kConvert};
    return std::nullopt;
}

namespace {

// Checksum of the header of a FLAC frame: generator 0x07, most significant bit first.
uint32_t header_checksum(std::string_view header) {
    uint32_t sum = 0;
    for (size_t i = 0; i < header.size(); ++i) {
        sum ^= byte(header, i);
        for (int bit = 0; bit < 8; ++bit) sum = (sum << 1 ^ (sum >> 7 ? 0x107u : 0u)) & 255;
    }
    return sum;
}

struct FlacFrame {
    int64_t number = 0;  // of the frame, or of its first sample where `by_sample`
    int64_t samples = 0;
    bool by_sample = false;
};

// Of the bytes of a frame's header, none where they are something else.
std::optional<FlacFrame> flac_frame_at(std::string_view b) {
    if (b.size() < 16 || byte(b, 0) != 0xFF || (byte(b, 1) & 0xFE) != 0xF8) return std::nullopt;
    const uint32_t size = byte(b, 2) >> 4, rate = byte(b, 2) & 15;
    if (size == 0 || rate == 15 || byte(b, 3) >> 4 > 10 || (byte(b, 3) & 1)) return std::nullopt;
    FlacFrame f{.by_sample = (byte(b, 1) & 1) != 0};
    // Its number is coded as UTF-8 is, of up to 7 bytes.
    size_t n = 0;
    while (n < 8 && (byte(b, 4) << n & 128)) ++n;
    if (n == 1 || n == 8) return std::nullopt;
    f.number = n == 0 ? byte(b, 4) : byte(b, 4) & (0x7Fu >> n);
    size_t at = 5;
    for (; at < 4 + n; ++at) {
        if (byte(b, at) >> 6 != 2) return std::nullopt;
        f.number = f.number << 6 | (byte(b, at) & 63);
    }
    if (size == 1) f.samples = 192;
    if (size >= 2 && size <= 5) f.samples = int64_t{144} << size;
    if (size == 6) f.samples = byte(b, at) + 1, at += 1;
    if (size == 7) f.samples = (byte(b, at) << 8 | byte(b, at + 1)) + 1, at += 2;
    if (size >= 8) f.samples = int64_t{1} << size;
    at += rate == 12 ? 1 : rate >= 13 ? 2 : 0;
    if (at >= b.size() || header_checksum(b.substr(0, at)) != byte(b, at)) return std::nullopt;
    return f;
}

// The first four bytes of the first frame, behind the blocks of metadata.
std::string first_flac_frame(const AudioInput& input) {
    for (int64_t at = 4;;) {
        const std::string head = input.peek(at, 4);
        if (head.size() < 4) return "";
        at += 4 + (big_endian(head, 0) & 0xFFFFFF);
        if (byte(head, 0) & 128) return input.peek(at, 4);
    }
}

}  // namespace

Damage damage_of_flac(const AudioInput& input, std::optional<DecoderEnd> end) {
    constexpr int64_t kTail = 1 << 16, kTagBytes = 1 << 14;
    const std::string head = input.peek(0, 26);
    if (head.size() < 26 || !head.starts_with("fLaC")) return std::nullopt;
    const int64_t block = byte(head, 8) << 8 | byte(head, 9);
    const int64_t promised = int64_t{byte(head, 21) & 15} << 32 | big_endian(head, 22);  // 0: it is not known
    if (promised == 0 && !end) return std::nullopt;
    const int64_t samples = promised > 0 ? promised : end->samples;
    const auto goes_on = [&](const std::string& how) {
        return Unreadable{
            fmt::format("{} {} samples, {}", promised > 0 ? "its header says" : "its decoder ends after",
                        samples, how),
            "the file is damaged, decode it again from its source"};
    };
    const std::string like = first_flac_frame(input);
    // Of all frames: how they are numbered, their rate and their width.
    const auto is_alike = [&](const char* b) {
        return b[1] == like[1] && ((b[2] ^ like[2]) & 15) == 0 && ((b[3] ^ like[3]) & 15) == 0;
    };
    const int64_t begin = std::max<int64_t>(0, input.bytes() - kTail);
    const std::string tail = like.size() < 4 ? "" : input.peek(begin, kTail);
    const bool falls_short = end && end->samples < promised;
    std::set<int64_t> ends;  // where frames of the tail end, in samples
    for (size_t at = tail.find('\xFF'); at != tail.npos; at = tail.find('\xFF', at + 1)) {
        const auto frame = flac_frame_at(std::string_view(tail).substr(at, 16));
        if (!frame || !is_alike(&tail[at])) continue;
        const int64_t first = frame->by_sample ? frame->number : frame->number * block;
        const int64_t last = first + frame->samples;
        // Bytes within a frame can look like one, but not like one that fits another.
        if (last > samples && (first <= samples || ends.count(first)))
            return goes_on(fmt::format("the frame of FLAC at byte {} goes on to {}",
                                       begin + static_cast<int64_t>(at), last));
        ends.insert(last);
    }
    if (falls_short && !ends.count(promised))
        return Unreadable{fmt::format("ends after {} of {} frames", end->samples, promised),
                          "the file was cut, copy it again"};
    if (falls_short)
        return Unreadable{fmt::format("{} of {} frames can be decoded", end->samples, promised),
                          "the file is damaged, copy it again"};
    if (end && input.bytes() - end->bytes > kTagBytes)
        return goes_on(fmt::format("but {} bytes follow", input.bytes() - end->bytes));
    return std::nullopt;
}

}  // namespace adder
