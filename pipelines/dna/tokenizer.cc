#include "pipelines/dna/tokenizer.h"

#include <algorithm>

#include "core/error.h"

namespace adder::dna {

namespace {

constexpr std::string_view kAcgt = "ACGT";
// IUPAC-IUB codes for more than one nucleotide (Cornish-Bowden, Nucleic Acids Res. 13, 1985), without N.
constexpr std::string_view kIupac = "RYSWKMBDHV";

// What a letter is, beside its case: a base, N, an ambiguity code, or something else.
constexpr uint8_t kIsIupac = 16, kIsOther = 32;

constexpr uint8_t kind_of(char letter) {
    const char c = letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
    if (c == 'N') return kBaseN;
    if (kIupac.find(c) != kIupac.npos) return kBaseN | kIsIupac;
    const size_t i = kAcgt.find(c == 'U' ? 'T' : c);
    return i == kAcgt.npos ? kBaseN | kIsOther : static_cast<uint8_t>(i);
}

constexpr std::array<uint8_t, 256> kKinds = [] {
    std::array<uint8_t, 256> kinds{};
    for (size_t c = 0; c < 256; ++c) kinds[c] = kind_of(static_cast<char>(c));
    return kinds;
}();

SymbolTable base_table(double mask_weight) {
    SymbolTable table;
    for (size_t s = 0; s < 256; ++s) {
        const auto symbol = static_cast<uint8_t>(s);
        table.id[s] = is_base(symbol) ? static_cast<uint16_t>(kA + (symbol & kBaseBits)) : uint16_t{kN};
        if (is_base(symbol)) table.weight[s] = symbol & kLower ? static_cast<float>(mask_weight) : 1.0f;
        table.complement[s] = complement_of(symbol);
    }
    return table;
}

int64_t n_kmers(int64_t k) { return int64_t{1} << (2 * k); }

class KmerTokenizer : public Tokenizer {
  public:
    KmerTokenizer(int64_t k, double mask_weight)
        : Tokenizer({.vocabulary = kA + n_kmers(k) + 1, .pad = kPad, .width = k, .two_strands = true,
                     .token = fmt::format("{}-mer", k)}) {
        const auto K = static_cast<double>(k);
        for (int64_t lower = 0; lower <= k; ++lower) {
            const auto n = static_cast<double>(lower);
            weights_.push_back(static_cast<float>((K - n + n * mask_weight) / K));
        }
    }

    void write(std::span<const uint8_t> symbols, int64_t first, int64_t count, bool reverse, uint16_t* ids,
               float* weights) const override {
        const int64_t k = width();
        CHECK(first >= 0 && count >= 0 && (first + count) * k <= static_cast<int64_t>(symbols.size()));
        for (int64_t i = 0; i < count; ++i) {
            const int64_t token = reverse ? first + count - 1 - i : first + i;
            const uint8_t* at = symbols.data() + token * k;
            int64_t number = 0, lower = 0;
            bool known = true;
            for (int64_t j = 0; j < k; ++j) {
                const uint8_t symbol = reverse ? complement_of(at[k - 1 - j]) : at[j];
                number = number << 2 | (symbol & 3);
                known &= is_base(symbol);
                lower += (symbol & kLower) != 0;
            }
            ids[i] = static_cast<uint16_t>(kA + (known ? number : n_kmers(k)));
            weights[i] = known ? weights_[static_cast<size_t>(lower)] : 0;
        }
    }

  private:
    std::vector<float> weights_;  // of a token with so many lower-case bases
};

}  // namespace

std::unique_ptr<const Tokenizer> make_tokenizer(const DnaOptions& o) {
    if (o.tokenizer == "kmer") return std::make_unique<KmerTokenizer>(o.kmer, o.mask_weight);
    CHECK(o.tokenizer == "char");
    return std::make_unique<SymbolTokenizer>(
        TokenSpace{.vocabulary = kN + 1, .pad = kPad, .width = 1, .two_strands = true, .token = "base"},
        base_table(o.mask_weight));
}

BaseCounts& BaseCounts::operator+=(const BaseCounts& added) {
    records += added.records;
    bases += added.bases;
    acgt += added.acgt;
    n += added.n;
    iupac += added.iupac;
    other += added.other;
    lower_case += added.lower_case;
    return *this;
}

void encode(std::string_view letters, std::vector<uint8_t>& symbols, BaseCounts& counts) {
    const size_t at = symbols.size();
    symbols.resize(at + letters.size());
    uint8_t* to = symbols.data() + at;
    int64_t n_unknown = 0, n_iupac = 0, n_other = 0, n_lower = 0;
    for (size_t i = 0; i < letters.size(); ++i) {
        const auto c = static_cast<unsigned char>(letters[i]);
        const uint8_t kind = kKinds[c];
        const uint8_t lower = c >> 5 & 1;  // letters differ from upper case in this bit alone
        to[i] = static_cast<uint8_t>((kind & kBaseBits) | lower << 3);
        n_unknown += kind >> 2 & 1;
        n_iupac += kind >> 4 & 1;
        n_other += kind >> 5;
        n_lower += lower;
    }
    const auto n = static_cast<int64_t>(letters.size());
    counts += {.bases = n,
               .acgt = n - n_unknown,
               .n = n_unknown - n_iupac - n_other,
               .iupac = n_iupac,
               .other = n_other,
               .lower_case = n_lower};
}

std::string decode(std::span<const uint16_t> ids, const DnaOptions& o) {
    const int64_t k = o.tokenizer == "kmer" ? o.kmer : 1;
    std::string letters;
    letters.reserve(ids.size() * static_cast<size_t>(k));
    for (const uint16_t id : ids) {
        const int64_t number = int64_t{id} - kA;
        const bool special = number < 0 || number > n_kmers(k);
        for (int64_t j = k - 1; j >= 0; --j)
            letters += special ? '?' : number == n_kmers(k) ? 'N' : kAcgt[static_cast<size_t>(number >> (2 * j) & 3)];
    }
    return letters;
}

}  // namespace adder::dna
