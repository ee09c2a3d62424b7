// Two bits a symbol, for alphabets of which four symbols are nearly everything: bases.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace adder {

struct PackedAlphabet {
    std::array<uint8_t, 4> symbols{};  // stand as 0, 1, 2, 3
    uint8_t flag = 0;                  // bits that any symbol may carry beside, all or none of them: lower case
};

// Runs along a sequence, each as the symbols between the end of the one before it and its begin, and its length. Small
// numbers, which compress.
struct SymbolRuns {
    std::vector<int64_t> gap, length;
};

// Packs one sequence of symbols, piece by piece. What has been packed so far is in `bytes` and the runs; the caller takes
// it from there and clears them.
class SymbolPacker {
  public:
    explicit SymbolPacker(const PackedAlphabet& alphabet);
    void add(std::span<const uint8_t> symbols);
    // The last byte, filled with zeros, and the runs that are still open. Once, and last.
    void finish();

    std::vector<uint8_t> bytes;         // symbol i in bits 2 (i % 4) and up of byte i / 4
    SymbolRuns flagged;                 // where the flag is set
    SymbolRuns other;                   // where another symbol stands; 0 is packed there
    std::vector<uint8_t> other_symbol;  // of each of these runs, without the flag

  private:
    struct OpenRun {
        int64_t begin = -1, last_end = 0;
        bool is_open() const { return begin >= 0; }
        void close(int64_t end, SymbolRuns& runs);
    };
    void add_one(uint8_t symbol);

    PackedAlphabet alphabet_;
    std::array<uint8_t, 256> kind_{};  // code, and two bits: another symbol, flagged
    int64_t position_ = 0;
    uint8_t partial_ = 0;
    OpenRun open_flagged_, open_other_;
    uint8_t open_symbol_ = 0;
};

// Symbols [first, first + out.size()) of what `bytes` begins with, without the runs.
void unpack_symbols(const PackedAlphabet& alphabet, std::span<const uint8_t> bytes, int64_t first,
                    std::span<uint8_t> out);

}  // namespace adder
