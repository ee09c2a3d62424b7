// Tokenizers: from symbols, as records keep them, to the tokens that a model sees.
//
// A symbol is one byte of what a domain keeps of its input: a base with its case, a sample of 8 bits, or a half of one of
// 16. A token is made of `width` symbols when a row of a batch is filled, so that memory is one byte a symbol whatever
// the tokens are.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace adder {

struct TokenSpace {
    int64_t vocabulary = 0;    // ids are below this; models may pad it
    uint16_t pad = 0;          // id of padding, a target of weight 0
    int64_t width = 1;         // symbols a token
    bool two_strands = false;  // there is a reverse complement
    std::string token = {};    // what one token is, for messages: "base"
    int64_t tokens_per_sample = 0;  // of sampled signals; 0 for others
};

class Tokenizer {
  public:
    explicit Tokenizer(TokenSpace space) : space_(std::move(space)) {}
    virtual ~Tokenizer() = default;
    Tokenizer(const Tokenizer&) = delete;
    Tokenizer& operator=(const Tokenizer&) = delete;

    int64_t vocabulary() const { return space_.vocabulary; }
    uint16_t pad() const { return space_.pad; }
    int64_t width() const { return space_.width; }
    bool two_strands() const { return space_.two_strands; }
    const std::string& token() const { return space_.token; }
    int64_t tokens_per_sample() const { return space_.tokens_per_sample; }
    // Tokens of so many symbols: symbols that do not fill a last token belong to none.
    int64_t n_tokens(int64_t n_symbols) const { return n_symbols / space_.width; }

    // Ids of tokens [first, first + count) of a sequence of `symbols`, and how much each counts as a target. With
    // `reverse` the same run is read from its end on the other strand: ids[0] belongs to token first + count - 1.
    // Nothing is allocated. The run must lie within the symbols.
    virtual void write(std::span<const uint8_t> symbols, int64_t first, int64_t count, bool reverse, uint16_t* ids,
                       float* weights) const = 0;

  private:
    TokenSpace space_;
};

// What one symbol is as a token of its own.
struct SymbolTable {
    std::array<uint16_t, 256> id{};
    std::array<float, 256> weight{};
    std::array<uint8_t, 256> complement{};  // the symbol on the other strand, where there is one
    uint16_t odd_offset = 0;                // added to the ids of tokens 1, 3, 5, ... of a sequence
};

// One symbol a token.
class SymbolTokenizer : public Tokenizer {
  public:
    SymbolTokenizer(TokenSpace space, const SymbolTable& table);
    void write(std::span<const uint8_t> symbols, int64_t first, int64_t count, bool reverse, uint16_t* ids,
               float* weights) const override;

  private:
    SymbolTable table_;
};

}  // namespace adder
