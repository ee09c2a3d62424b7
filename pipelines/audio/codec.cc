#include "pipelines/audio/codec.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace adder::audio {

namespace {

constexpr double kMu = 255;
constexpr double kLogMu = 5.545177444479562475;  // ln(1 + mu)
constexpr int64_t kSteps = 256;

uint8_t step_of(double y) {
    return static_cast<uint8_t>(std::clamp(std::floor(128 * (y + 1)), 0.0, 255.0));
}

double centre_of(uint8_t symbol) {
    return (symbol + 0.5) / 128 - 1;
}

double compressed(double x) {
    return std::copysign(std::log1p(kMu * std::abs(x)) / kLogMu, x);
}

double expanded(double y) {
    return std::copysign(std::expm1(kLogMu * std::abs(y)) / kMu, y);
}

}  // namespace

Codec codec_of(const std::string& name) {
    if (name == "linear8") return Codec::linear8;
    if (name == "pcm16") return Codec::pcm16;
    CHECK(name == "mulaw");
    return Codec::mulaw;
}

int64_t encode(Codec codec, std::span<const float> samples, std::vector<uint8_t>& symbols) {
    size_t at = symbols.size();
    symbols.resize(at + samples.size() * static_cast<size_t>(symbols_per_sample(codec)));
    int64_t n_clipped = 0;
    for (const float sample : samples) {
        n_clipped += std::abs(sample) > 1;
        const double x = std::clamp(static_cast<double>(sample), -1.0, 1.0);
        if (codec == Codec::pcm16) {
            const auto s =
                static_cast<uint32_t>(std::clamp<long>(std::lrint(32768 * x), -32768, 32767) + 32768);
            symbols[at++] = static_cast<uint8_t>(s >> 8);
            symbols[at++] = static_cast<uint8_t>(s & 255);
        } else {
            symbols[at++] = step_of(codec == Codec::mulaw ? compressed(x) : x);
        }
    }
    return n_clipped;
}

float decode_symbols(Codec codec, const uint8_t* symbols) {
    if (codec == Codec::pcm16) return static_cast<float>((symbols[0] << 8 | symbols[1]) - 32768) / 32768.0f;
    const double y = centre_of(symbols[0]);
    return static_cast<float>(codec == Codec::mulaw ? expanded(y) : y);
}

int64_t n_sample_tokens(Codec codec) {
    return kSteps * symbols_per_sample(codec);
}

std::unique_ptr<const Tokenizer> make_tokenizer(Codec codec, int64_t n_classes) {
    constexpr uint16_t kSilence = 128;
    TokenSpace space{.vocabulary = n_sample_tokens(codec) + n_classes, .pad = kSilence};
    space.token = codec == Codec::pcm16 ? "byte" : "sample";
    space.tokens_per_sample = symbols_per_sample(codec);
    SymbolTable table;
    for (size_t s = 0; s < table.id.size(); ++s) {
        table.id[s] = static_cast<uint16_t>(s);
        table.weight[s] = 1;
    }
    if (codec == Codec::pcm16) table.odd_offset = kSteps;
    return std::make_unique<SymbolTokenizer>(std::move(space), table);
}

std::vector<uint16_t> tokens_of_silence(Codec codec) {
    const float zero = 0;
    std::vector<uint8_t> symbols;
    encode(codec, {&zero, 1}, symbols);
    std::vector<uint16_t> ids(symbols.begin(), symbols.end());
    if (codec == Codec::pcm16) ids[1] = static_cast<uint16_t>(ids[1] + kSteps);
    return ids;
}

bool may_stand(Codec codec, uint16_t id, int64_t position) {
    const int64_t first = codec == Codec::pcm16 ? kSteps * (position % 2) : 0;
    return id >= first && id < first + kSteps;
}

void StreamDecoder::decode(std::span<const uint16_t> ids, std::vector<float>& samples) {
    for (const uint16_t id : ids) {
        if (!may_stand(codec_, id, n_)) fail("[audio] token {}: id {} stands for no sample here", n_, id);
        const auto symbol = static_cast<uint8_t>(id % kSteps);
        if (codec_ == Codec::pcm16 && n_ % 2 == 0) {
            high_ = symbol;
        } else {
            const uint8_t symbols[2] = {codec_ == Codec::pcm16 ? high_ : symbol, symbol};
            samples.push_back(decode_symbols(codec_, symbols));
        }
        ++n_;
    }
}

}  // namespace adder::audio
