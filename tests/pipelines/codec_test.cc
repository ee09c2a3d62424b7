#include "pipelines/audio/codec.h"

#include <gmock/gmock.h>

#include <cmath>

#include "datasets/audio.h"
#include "pipelines/audio/audio.h"
#include "tests/datasets/sound.h"
#include "tests/io/scratch.h"

namespace adder::audio {
namespace {

using ::testing::ElementsAre;

std::vector<uint8_t> symbols_of(Codec codec, const std::vector<float>& x) {
    std::vector<uint8_t> symbols;
    encode(codec, x, symbols);
    return symbols;
}

uint8_t symbol_of(Codec codec, double x) {
    return symbols_of(codec, {static_cast<float>(x)})[0];
}

// The definition, in the other direction: where step k begins.
double begin_of_step(int k) {
    const double y = k / 128.0 - 1;
    return std::copysign((std::pow(256.0, std::abs(y)) - 1) / 255, y);
}

TEST(Codec, mulaw_steps_lie_where_the_definition_says_and_decode_inside_themselves) {
    for (int k = 0; k < 256; ++k) {
        const double begin = begin_of_step(k), end = begin_of_step(k + 1), width = end - begin;
        EXPECT_EQ(symbol_of(Codec::mulaw, begin + 1e-3 * width), k);
        EXPECT_EQ(symbol_of(Codec::mulaw, end - 1e-3 * width), k);
        const auto symbol = static_cast<uint8_t>(k);
        const double decoded = static_cast<double>(decode_symbols(Codec::mulaw, &symbol));
        const double y = (k + 0.5) / 128 - 1;
        EXPECT_NEAR(decoded, std::copysign((std::pow(256.0, std::abs(y)) - 1) / 255, y), 1e-7);
        EXPECT_GT(decoded, begin);
        EXPECT_LT(decoded, end);
    }
    EXPECT_EQ(symbol_of(Codec::mulaw, 0), 128);
    EXPECT_EQ(symbol_of(Codec::mulaw, 1), 255);
    EXPECT_EQ(symbol_of(Codec::mulaw, -1), 0);
}

TEST(Codec, linear8_is_within_half_a_step) {
    for (double x = -1; x <= 1; x += 1.0 / 777) {
        const uint8_t symbol = symbol_of(Codec::linear8, x);
        EXPECT_LE(std::abs(static_cast<double>(decode_symbols(Codec::linear8, &symbol)) - x),
                  1.0 / 256 + 1e-7);
    }
    EXPECT_EQ(symbol_of(Codec::linear8, 0), 128);
}

TEST(Codec, pcm16_gives_back_every_sample_of_16_bits) {
    for (int s = -32768; s < 32768; ++s) {
        const auto x = static_cast<float>(s) / 32768.0f;
        const std::vector<uint8_t> bytes = symbols_of(Codec::pcm16, {x});
        ASSERT_EQ(bytes[0] * 256 + bytes[1], s + 32768);
        ASSERT_EQ(decode_symbols(Codec::pcm16, bytes.data()), x);
    }
}

TEST(Codec, what_is_beyond_full_scale_is_clipped_and_counted) {
    std::vector<uint8_t> symbols;
    EXPECT_EQ(encode(Codec::linear8, std::vector<float>{-1.5f, -1, 0, 1, 1.0001f, 1e9f}, symbols), 3);
    EXPECT_THAT(symbols, ElementsAre(0, 0, 128, 255, 255, 255));
}

TEST(Codec, tokens_of_a_stream_become_samples_however_they_are_cut) {
    const std::vector<float> x = tone(300);
    for (const Codec codec : {Codec::mulaw, Codec::linear8, Codec::pcm16}) {
        const std::vector<uint8_t> symbols = symbols_of(codec, x);
        const auto tokenizer = make_tokenizer(codec, 3);
        std::vector<uint16_t> ids(symbols.size());
        std::vector<float> weights(symbols.size()), whole, pieces;
        tokenizer->write(symbols, 0, static_cast<int64_t>(ids.size()), false, ids.data(), weights.data());
        StreamDecoder(codec).decode(ids, whole);
        ASSERT_EQ(whole.size(), x.size());
        for (size_t i = 0; i < x.size(); ++i)
            EXPECT_NEAR(whole[i], x[i], codec == Codec::pcm16 ? 1.6e-5 : 0.012);
        StreamDecoder decoder(codec);
        for (const uint16_t id : ids) decoder.decode(std::span(&id, 1), pieces);
        EXPECT_EQ(pieces, whole);
        EXPECT_EQ(tokenizer->vocabulary(), (codec == Codec::pcm16 ? 512 : 256) + 3);
        for (size_t t = 0; t < ids.size(); ++t)
            EXPECT_TRUE(may_stand(codec, ids[t], static_cast<int64_t>(t)));
    }
    const uint16_t low = 300, a_class = 512;
    std::vector<float> out;
    EXPECT_THROW(StreamDecoder(Codec::pcm16).decode(std::span(&low, 1), out), Error);
    EXPECT_THROW(StreamDecoder(Codec::mulaw).decode(std::span(&a_class, 1), out), Error);
}

TEST(AudioPrompt, is_resampled_and_encoded_as_training_was) {
    const Scratch w;
    DataOptions o;
    o.domain = "audio";
    o.audio.rate = 8000;
    o.audio.codec = "pcm16";
    const std::vector<uint16_t> ids =
        kDomain.read_prompt(write_wav(w.path("p.wav"), tone(100, 1, 440, 16000), 16000), o);
    EXPECT_EQ(ids.size(), 100u);
    for (size_t t = 0; t < ids.size(); ++t) EXPECT_EQ(ids[t] >= 256, t % 2 == 1);
    // Written out again.
    std::vector<float> samples;
    const auto decoder = kDomain.signal->make_decoder(o);
    decoder->decode(std::span(ids).first(33), samples);
    decoder->decode(std::span(ids).subspan(33), samples);
    AudioWriter out(w.path("a.wav"), AudioFileType::wav, kDomain.signal->rate(o));
    out.write(samples);
    out.finish();
    EXPECT_EQ(kDomain.read_prompt(w.path("a.wav"), o), ids);
    // A record begins with the first sample of its prompt, silent or not.
    o.audio.trim = 30;
    std::vector<float> late(400, 0.0f);
    late.back() = 0.5f;
    EXPECT_EQ(kDomain.read_prompt(write_wav(w.path("late.wav"), late, 8000), o).size(), 800u);
}

}  // namespace
}  // namespace adder::audio
