// Letters of DNA to symbols, and symbols to tokens and back.
//
// Token ids are those of HyenaDNA and Caduceus (CharacterTokenizer of HazyResearch/hyena-dna, CaduceusTokenizer of
// kuleshov-group/caduceus), except that lower case is read as upper, U as T, and every other letter as N, not [UNK].
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/dna/options.h"
#include "pipelines/tokenizer.h"

namespace adder::dna {

enum Id : uint8_t {
    kCls = 0,
    kSep = 1,
    kBos = 2,
    kMask = 3,
    kPad = 4,
    kReserved = 5,
    kUnknown = 6,
    kA = 7,
    kC = 8,
    kG = 9,
    kT = 10,
    kN = 11,
};

// A symbol is one of these, plus kLower where the letter was a lower-case one.
enum Symbol : uint8_t { kBaseA = 0, kBaseC = 1, kBaseG = 2, kBaseT = 3, kBaseN = 4, kLower = 8 };
constexpr uint8_t kBaseBits = 7;
constexpr bool is_base(uint8_t symbol) { return (symbol & kBaseBits) < kBaseN; }
constexpr uint8_t complement_of(uint8_t symbol) { return is_base(symbol) ? symbol ^ 3 : symbol; }

// 4^7 k-mers and the specials are the most that fit into 16 bits.
constexpr int64_t kLongestKmer = 7;

// "char": a token a base. "kmer": a token for every K bases, without overlap; 7 + its number to base 4 (A 0, C 1, G 2, T 3,
// the first base counts most), then one id for every k-mer with an N; with K = 1 the ids of "char". Padding is [PAD]. Only
// tokens of A, C, G and T count as targets; a lower-case base counts `mask_weight` times, a k-mer the mean of its bases.
std::unique_ptr<const Tokenizer> make_tokenizer(const DnaOptions& options);

struct BaseCounts {
    int64_t records = 0, bases = 0;
    int64_t acgt = 0, n = 0, iupac = 0;  // with `other` together: bases. U counts as T, hence in acgt
    int64_t other = 0;                   // no nucleotide code, read as N
    int64_t lower_case = 0;              // of all bases
    BaseCounts& operator+=(const BaseCounts& added);
};

// Appends the symbols of letters and counts them, `records` excepted; bytes that are no letters are counted as `other`.
void encode(std::string_view letters, std::vector<uint8_t>& symbols, BaseCounts& counts);

// The letters of tokens: A C G T N; '?' for specials and padding of the vocabulary. A k-mer with an N is all N.
std::string decode(std::span<const uint16_t> ids, const DnaOptions& options);

}  // namespace adder::dna
