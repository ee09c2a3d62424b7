// gzip and bgzip bytes for the tests, made with zlib alone.
#pragma once
#include <zlib.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace adder {

// window_bits 31: a gzip member, -15: a raw deflate stream.
inline std::string deflate_bytes(std::string_view text, int window_bits) {
    z_stream z{};
    if (deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        throw std::runtime_error("zlib");
    std::string out(deflateBound(&z, text.size()) + 64, '\0');
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    z.avail_in = static_cast<uInt>(text.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    const int rc = deflate(&z, Z_FINISH);
    out.resize(z.total_out);
    deflateEnd(&z);
    if (rc != Z_STREAM_END) throw std::runtime_error("zlib");
    return out;
}

inline std::string gzip(std::string_view text) {
    return deflate_bytes(text, 31);
}

// What a file of any number of gzip members holds.
inline std::string gunzip(const std::string& path) {
    gzFile file = gzopen(path.c_str(), "rb");
    if (!file) throw std::runtime_error("zlib");
    std::string out;
    char part[4096];
    int n;
    while ((n = gzread(file, part, sizeof part)) > 0) out.append(part, static_cast<size_t>(n));
    gzclose(file);
    if (n < 0) throw std::runtime_error("zlib");
    return out;
}

// One block: SAM specification, section 4.1 (gzip with an extra field that holds the block's size less one).
inline std::string bgzf_block(std::string_view text) {
    auto little = [](uint32_t v, int n) {
        std::string s;
        for (int i = 0; i < n; ++i) s += static_cast<char>(v >> (8 * i));
        return s;
    };
    const std::string body = deflate_bytes(text, -15);
    const auto crc = static_cast<uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
    std::string head("\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0", 16);
    return head + little(static_cast<uint32_t>(body.size() + 25), 2) + body + little(crc, 4) +
           little(static_cast<uint32_t>(text.size()), 4);
}

// The blocks of a bgzip file, the empty end block included.
inline std::string bgzip(std::string_view text, size_t block = 60000) {
    std::string out;
    for (size_t i = 0; i < text.size(); i += block) out += bgzf_block(text.substr(i, block));
    return out + bgzf_block("");
}

}  // namespace adder
