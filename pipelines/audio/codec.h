// Samples to symbols and tokens, and back.
//
// mulaw    continuous companding with mu = 255 (not the segmented code of ITU-T G.711, which it approximates):
//          y = sign(x) ln(1 + 255 |x|) / ln 256, symbol = floor(128 (y + 1)), at most 255; decoded at the
//          centre of its step, y = (symbol + 1/2) / 128 - 1. Silence is symbol 128.
// linear8  the same with y = x.
// pcm16    s = round(32768 x), in [-32768, 32767]; symbols: the high byte of s + 32768, then the low one.
//
// Token ids: mulaw and linear8 0..255, the symbol. pcm16 0..255 a high byte, 256..511 a low byte + 256; a
// record's tokens alternate. Behind them one id a class, in the order of their names. There is no id for
// padding: it is the first token of silence, of weight 0.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pipelines/domain.h"

namespace adder::audio {

enum class Codec { mulaw, linear8, pcm16 };

Codec codec_of(const std::string& name);  // of --codec

// Symbols, and tokens, a sample.
constexpr int64_t symbols_per_sample(Codec codec) {
    return codec == Codec::pcm16 ? 2 : 1;
}

// Appends the symbols of samples; full scale is 1, beyond it they are clipped. Returns how many were beyond.
int64_t encode(Codec codec, std::span<const float> samples, std::vector<uint8_t>& symbols);

// The sample that one symbol stands for (mulaw, linear8), or two (pcm16).
float decode_symbols(Codec codec, const uint8_t* symbols);

int64_t n_sample_tokens(Codec codec);  // ids of samples; classes begin there
std::unique_ptr<const Tokenizer> make_tokenizer(Codec codec, int64_t n_classes);

// Tokens of a record to samples, as they come.
class StreamDecoder : public SampleDecoder {
  public:
    explicit StreamDecoder(Codec codec) : codec_(codec) {}
    void decode(std::span<const uint16_t> ids, std::vector<float>& samples) override;

  private:
    Codec codec_;
    int64_t n_ = 0;  // tokens so far
    uint8_t high_ = 0;
};

// One sample of silence.
std::vector<uint16_t> tokens_of_silence(Codec codec);

// Whether a token may stand at this position of a record, counted in tokens from 0.
bool may_stand(Codec codec, uint16_t id, int64_t position);

}  // namespace adder::audio
