// Letters of DNA to token ids and back. The ids are those of HyenaDNA and Caduceus (CharacterTokenizer of
// HazyResearch/hyena-dna, CaduceusTokenizer of kuleshov-group/caduceus), except that lower case is read as
// upper, and U as T, and IUPAC ambiguity codes become N, not [UNK].
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/records.h"

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
constexpr int64_t kVocabulary = 12;

// Padding is [PAD]; only A, C, G and T are scored.
const TokenRules& token_rules();

struct BaseCounts {
    int64_t records = 0, bases = 0;
    int64_t acgt = 0, n = 0, iupac = 0;  // together: bases. U counts as T, hence in acgt
    int64_t lower_case = 0;              // of all bases
    BaseCounts& operator+=(const BaseCounts& other);
};

// One record. `file` and `record` are for the message when a letter is no nucleotide code.
std::vector<uint8_t> encode(std::string_view letters, std::string_view file, std::string_view record,
                            BaseCounts& counts);
// A C G T N; '?' for specials and padding of the vocabulary.
std::string decode(std::span<const uint16_t> ids);

}  // namespace adder::dna
