// What generation asks of a domain of signals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"
#include "pipelines/domain.h"

namespace adder {
namespace {

DataOptions options_of(const std::string& codec) {
    DataOptions o;
    o.domain = "audio";
    o.audio.codec = codec;
    o.audio.rate = 8000;
    return o;
}

class SignalOfEveryCodec : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Codecs, SignalOfEveryCodec, testing::Values("mulaw", "linear8", "pcm16"));

TEST_P(SignalOfEveryCodec, silence_is_one_sample_that_may_be_drawn_and_is_nearly_zero) {
    const DataOptions o = options_of(GetParam());
    const Domain& audio = find_domain("audio");
    const std::vector<uint16_t> ids = audio.signal->silence(o);
    ASSERT_EQ(std::ssize(ids), audio.make_tokenizer(o)->tokens_per_sample());
    for (size_t i = 0; i < ids.size(); ++i)
        EXPECT_THAT(audio.alphabet(o, false, static_cast<int64_t>(i)), testing::Contains(ids[i])) << i;
    std::vector<float> samples;
    audio.signal->make_decoder(o)->decode(ids, samples);
    ASSERT_EQ(samples.size(), 1u);
    EXPECT_LT(std::abs(samples[0]), GetParam() == "linear8" ? 1.0 / 128 : 1e-4);
    EXPECT_EQ(audio.signal->rate(o), 8000);
    EXPECT_THROW(audio.signal->rate({}), Error);
}

TEST_P(SignalOfEveryCodec, what_may_be_drawn_decodes_in_pieces_as_in_one_and_nothing_else_does) {
    const DataOptions o = options_of(GetParam());
    const Domain& audio = find_domain("audio");
    const int64_t P = audio.make_tokenizer(o)->tokens_per_sample();
    const Philox random(1, Stream::test);
    std::vector<uint16_t> ids;
    for (int64_t i = 0; i < 200 * P; ++i) {
        const std::vector<uint16_t> alphabet = audio.alphabet(o, false, i % P);
        EXPECT_EQ(alphabet.size(), 256u);
        ids.push_back(alphabet[random.below(256, static_cast<uint64_t>(i))]);
    }
    std::vector<float> whole, pieces;
    audio.signal->make_decoder(o)->decode(ids, whole);
    const auto decoder = audio.signal->make_decoder(o);
    for (size_t i = 0; i < ids.size(); i += 7)
        decoder->decode(std::span(ids).subspan(i, std::min<size_t>(7, ids.size() - i)), pieces);
    EXPECT_EQ(whole.size(), 200u);
    EXPECT_EQ(pieces, whole);
    for (const float x : whole) EXPECT_LE(std::abs(x), 1.0f);
    const std::vector<uint16_t> outside{static_cast<uint16_t>(256 * P)};
    EXPECT_THROW(decoder->decode(outside, pieces), Error);
}

}  // namespace
}  // namespace adder
