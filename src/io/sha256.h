// SHA-256 (FIPS 180-4, section 6.2), streaming: the digest of data that run.json records.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace adder {

class Sha256 {
  public:
    void update(const void* data, int64_t n_bytes);
    void update(std::string_view text) { update(text.data(), static_cast<int64_t>(text.size())); }
    // Eight bytes, least significant first: what separates the fields of a record.
    void update_u64(uint64_t value);
    // 64 lower-case hexadecimal digits. Ends the stream.
    std::string hex();

  private:
    void blocks(const uint8_t* data, int64_t n_blocks);

    std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<uint8_t, 64> pending_{};
    int64_t n_bytes_ = 0;
};

}  // namespace adder
