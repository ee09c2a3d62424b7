#include "pipelines/dna/tokenizer.h"

#include "core/error.h"

namespace adder::dna {

namespace {

constexpr std::string_view kAcgt = "ACGT";
// IUPAC-IUB codes for more than one nucleotide (Cornish-Bowden, Nucleic Acids Res. 13, 1985), without N.
constexpr std::string_view kIupac = "RYSWKMBDHV";

constexpr uint8_t kNoBase = 255;

constexpr char upper(char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

uint8_t id_of(char letter) {
    const char c = upper(letter);
    if (c == 'U') return kT;
    if (c == 'N' || kIupac.find(c) != kIupac.npos) return kN;
    const size_t i = kAcgt.find(c);
    return i == kAcgt.npos ? kNoBase : static_cast<uint8_t>(kA + i);
}

std::array<uint8_t, 256> make_ids() {
    std::array<uint8_t, 256> ids{};
    for (int c = 0; c < 256; ++c) ids[static_cast<size_t>(c)] = id_of(static_cast<char>(c));
    return ids;
}

[[noreturn]] void fail_letter(std::string_view letters, size_t at, std::string_view file,
                              std::string_view record) {
    const auto c = static_cast<unsigned char>(letters[at]);
    const bool protein = std::string_view("EFILPQefilpq").find(letters[at]) != std::string_view::npos;
    fail(
        "[dna] {}: record {}, position {}: expected a nucleotide code (A C G T U N or IUPAC), got {}; hint: "
        "{}",
        file, record, at + 1,
        c > 32 && c < 127 ? fmt::format("'{}'", letters[at]) : fmt::format("byte 0x{:02x}", c),
        protein ? "is it a protein?" : "replace it with N");
}

}  // namespace

const TokenRules& token_rules() {
    static const TokenRules rules = [] {
        TokenRules r;
        r.pad = kPad;
        for (const Id id : {kA, kC, kG, kT}) r.weight[id] = 1;
        return r;
    }();
    return rules;
}

BaseCounts& BaseCounts::operator+=(const BaseCounts& other) {
    records += other.records;
    bases += other.bases;
    acgt += other.acgt;
    n += other.n;
    iupac += other.iupac;
    lower_case += other.lower_case;
    return *this;
}

std::vector<uint8_t> encode(std::string_view letters, std::string_view file, std::string_view record,
                            BaseCounts& counts) {
    static const std::array<uint8_t, 256> ids = make_ids();
    std::vector<uint8_t> tokens(letters.size());
    int64_t n_unscored = 0, n_letter_n = 0, n_lower = 0;
    uint8_t highest = 0;
    for (size_t i = 0; i < letters.size(); ++i) {
        const auto c = static_cast<unsigned char>(letters[i]);
        const uint8_t id = ids[c];
        tokens[i] = id;
        highest = id > highest ? id : highest;
        n_unscored += id == kN;
        n_letter_n += (c & 0xDF) == 'N';
        n_lower += c >> 5 & 1;  // letters differ from upper case in this bit alone
    }
    if (highest == kNoBase) {
        size_t at = 0;
        while (tokens[at] != kNoBase) ++at;
        fail_letter(letters, at, file, record);
    }
    const int64_t n = static_cast<int64_t>(letters.size());
    counts += {.records = 1,
               .bases = n,
               .acgt = n - n_unscored,
               .n = n_letter_n,
               .iupac = n_unscored - n_letter_n,
               .lower_case = n_lower};
    return tokens;
}

std::string decode(std::span<const uint16_t> ids) {
    std::string letters;
    letters.reserve(ids.size());
    for (const uint16_t id : ids) letters += id == kN ? 'N' : id >= kA && id <= kT ? kAcgt[id - kA] : '?';
    return letters;
}

}  // namespace adder::dna
