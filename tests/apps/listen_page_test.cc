// Pages of clips: players hold the samples, pictures the frequencies, and a page stays within its size.
#include "apps/listen_page.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include <cmath>
#include <numbers>
#include <random>

#include "apps/clip_player.h"
#include "apps/png.h"
#include "apps/spectrogram.h"
#include "core/error.h"

namespace adder {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<float> tone(double hz, int64_t rate_hz, int64_t n) {
    std::vector<float> x;
    for (int64_t i = 0; i < n; ++i)
        x.push_back(static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * hz * static_cast<double>(i) /
                                                      static_cast<double>(rate_hz))));
    return x;
}

TEST(Fourier, equals_the_sum_of_its_definition) {
    std::mt19937 random(1);
    std::normal_distribution<double> normal;
    for (const size_t n : {1u, 2u, 8u, 512u}) {
        std::vector<std::complex<double>> x(n), slow(n);
        for (auto& v : x) v = {normal(random), normal(random)};
        for (size_t k = 0; k < n; ++k)
            for (size_t t = 0; t < n; ++t)
                slow[k] += x[t] * std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(k * t % n) /
                                                      static_cast<double>(n));
        fourier_transform(x);
        for (size_t k = 0; k < n; ++k)
            EXPECT_NEAR(std::abs(x[k] - slow[k]), 0, 1e-11 * std::sqrt(static_cast<double>(n)) + 1e-12);
    }
}

TEST(Spectrogram, a_tone_stands_at_its_frequency) {
    const int64_t rate = 16000;
    for (const double hz : {500., 3000., 7500.}) {
        Spectrogram s(rate, 100, 64);
        s.add(tone(hz, rate, rate));
        ASSERT_EQ(s.width(), 100);
        int64_t loudest = 0;
        for (int64_t row = 0; row < 64; ++row)
            if (s.power(50, row) > s.power(50, loudest)) loudest = row;
        EXPECT_EQ(loudest, static_cast<int64_t>(hz / (rate / 2.0) * 64));
    }
}

TEST(Spectrogram, pieces_are_the_whole_and_any_length_has_a_picture) {
    for (const int64_t n : {1, 2, 127, 128, 512, 5000, 300'000}) {
        const std::vector<float> x = tone(900, 8000, n);
        Spectrogram whole(n, 80, 128), pieces(n, 80, 128);
        whole.add(x);
        for (int64_t at = 0; at < n; at += 77)
            pieces.add(std::span(x).subspan(static_cast<size_t>(at),
                                            static_cast<size_t>(std::min<int64_t>(77, n - at))));
        EXPECT_EQ(whole.png_file(), pieces.png_file());
        EXPECT_LE(whole.width(), 80);
    }
    Spectrogram silent(1000, 10, 64);
    silent.add(std::vector<float>(1000, std::nanf("")));
    EXPECT_EQ(silent.power(3, 3), 0);
    EXPECT_FALSE(silent.png_file().empty());
}

uint32_t big_endian(std::span<const std::byte> bytes, size_t at) {
    uint32_t n = 0;
    for (size_t i = 0; i < 4; ++i) n = n << 8 | std::to_integer<uint32_t>(bytes[at + i]);
    return n;
}

TEST(Png, chunks_and_pixels_read_back) {
    const std::vector<Rgb> palette = {{0, 0, 0}, {255, 0, 0}, {0, 255, 0}};
    const std::vector<uint8_t> pixels = {0, 1, 2, 2, 1, 0};
    const std::vector<std::byte> file = png(3, 2, palette, pixels);
    std::string types, data;
    for (size_t at = 8; at < file.size();) {
        const size_t n = big_endian(file, at);
        const auto* body = reinterpret_cast<const char*>(file.data()) + at + 4;
        types += std::string(body, 4) + " ";
        if (std::string(body, 4) == "IDAT") data.assign(body + 4, n);
        EXPECT_EQ(big_endian(file, at + 8 + n),
                  crc32(0, reinterpret_cast<const Bytef*>(body), static_cast<uInt>(n + 4)));
        at += 12 + n;
    }
    EXPECT_EQ(types, "IHDR PLTE IDAT IEND ");
    std::string rows(6, '\0');
    uLongf size = rows.size();
    ASSERT_EQ(uncompress(reinterpret_cast<Bytef*>(rows.data()), &size,
                         reinterpret_cast<const Bytef*>(data.data()), data.size()),
              Z_OK);
    EXPECT_EQ(rows, (std::string{"\0\x01\x20\0\x21\0", 6}));
}

Clip clip_of(double seconds, int64_t rate_hz = 16000) {
    Clip clip;
    clip.rate_hz = rate_hz;
    clip.name = "<0>.wav";
    std::mt19937 random(7);
    std::normal_distribution<float> normal(0, 0.1f);
    for (int64_t i = 0; i < static_cast<int64_t>(seconds * static_cast<double>(rate_hz)); ++i)
        clip.samples.push_back(normal(random));
    return clip;
}

size_t count_of(const std::string& text, const std::string& what) {
    size_t n = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
    return n;
}

TEST(ListenPage, every_clip_has_player_waveform_spectrogram_and_settings) {
    ListenPage page{"<Clips>", {{"temperature", "0.9"}}, {clip_of(0.5), clip_of(0.25)}};
    page.clips[1].settings = "seed 5 & more";
    page.clips[1].label = "tone 3";
    const std::string html = listen_page(page);
    EXPECT_EQ(count_of(html, "<audio id=\"clip-"), 2u);
    EXPECT_EQ(count_of(html, "src=\"data:audio/"), 2u);
    EXPECT_EQ(count_of(html, "src=\"data:image/png"), 2u);
    EXPECT_EQ(count_of(html, "aria-label=\"waveform\""), 2u);
    for (const char* text : {"&lt;Clips&gt;", "temperature", "seed 5 &amp; more", "tone 3", "&lt;0&gt;.wav"})
        EXPECT_THAT(html, HasSubstr(text));
    EXPECT_THAT(html, Not(HasSubstr("http:")));
    EXPECT_THAT(html, Not(HasSubstr("clips are cut")));
}

TEST(ListenPage, stays_within_its_size_and_says_what_was_cut) {
    ListenPage page{"long", {}, {}};
    for (int i = 0; i < 12; ++i) page.clips.push_back(clip_of(i == 0 ? 1 : 30));
    const std::string html = listen_page(page);
    EXPECT_LE(static_cast<int64_t>(html.size()), kMostPageBytes);
    EXPECT_GE(static_cast<int64_t>(html.size()), kMostPageBytes * 8 / 10);
    EXPECT_THAT(html, HasSubstr("clips are cut to their first"));
    EXPECT_EQ(count_of(html, "the first "), 11u);  // the short one is whole
    EXPECT_THAT(html, HasSubstr(" of 30.00 s"));
    page.clips.assign(static_cast<size_t>(kMostClips) + 3, clip_of(0.1, 8000));
    const std::string many = listen_page(page);
    EXPECT_LE(static_cast<int64_t>(many.size()), kMostPageBytes);
    EXPECT_THAT(many, HasSubstr("The first 150 of 153 clips are here"));
}

TEST(ListenPage, clips_that_cannot_be_are_named) {
    EXPECT_THROW(listen_page({"none", {}, {}}), Error);
    ListenPage page{"p", {}, {clip_of(0.1)}};
    page.clips[0].samples.clear();
    EXPECT_THAT([&] { listen_page(page); },
                testing::ThrowsMessage<Error>(HasSubstr("<0>.wav: the clip has no samples")));
    page.clips[0] = clip_of(0.1);
    page.clips[0].rate_hz = 0;
    EXPECT_THAT([&] { listen_page(page); }, testing::ThrowsMessage<Error>(HasSubstr("0 Hz")));
}

}  // namespace
}  // namespace adder
