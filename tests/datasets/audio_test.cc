#include "datasets/audio.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <limits>
#include <thread>

#include "core/error.h"
#include "io/file.h"
#include "tests/datasets/decoded.h"
#include "tests/datasets/sound.h"
#include "tests/io/scratch.h"

// libsndfile loses what libvorbis made for a stream that it then refuses.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:vorbis_info_init\n"; }

namespace adder {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Audio, every_format_gives_back_its_samples) {
    const Scratch w;
    const std::vector<float> x = tone(4321, 2);
    const struct {
        const char* name;
        int format;
        double tolerance;
    } cases[] = {
        {"u8.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_U8, 1.0 / 127},
        {"s16.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16, 1.0 / 32767},
        {"s24.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_24, 1.0 / 8388607},
        {"s32.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_32, 1e-7},
        {"float.wav", SF_FORMAT_WAV | SF_FORMAT_FLOAT, 0},
        {"double.wav", SF_FORMAT_WAV | SF_FORMAT_DOUBLE, 0},
        {"mu.wav", SF_FORMAT_WAV | SF_FORMAT_ULAW, 0.02},
        {"big_endian.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16 | SF_ENDIAN_BIG, 1.0 / 32767},
        {"extensible.wav", SF_FORMAT_WAVEX | SF_FORMAT_PCM_24, 1.0 / 8388607},
        {"rf64.wav", SF_FORMAT_RF64 | SF_FORMAT_PCM_16, 1.0 / 32767},
        {"s16.aiff", SF_FORMAT_AIFF | SF_FORMAT_PCM_16, 1.0 / 32767},
        {"s24.aiff", SF_FORMAT_AIFF | SF_FORMAT_PCM_24, 1.0 / 8388607},
        {"s8.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_S8, 1.0 / 127},
        {"s16.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 1.0 / 32767},
        {"s24.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_24, 1.0 / 8388607},
    };
    // Of coders that lose something, the error's RMS.
    for (const auto& [name, subtype] : {std::pair{"a.ogg", SF_FORMAT_VORBIS}, {"a.opus", SF_FORMAT_OPUS}}) {
        const Decoded d = decode(write_sound(w.path(name), x, SF_FORMAT_OGG | subtype, 8000, 2));
        ASSERT_EQ(d.samples.size(), x.size()) << name;
        double power = 0;
        for (size_t i = 0; i < x.size(); ++i) power += std::pow(static_cast<double>(d.samples[i]) - x[i], 2);
        EXPECT_LT(std::sqrt(power / static_cast<double>(x.size())), 0.07) << name;
    }
    for (const auto& c : cases) {
        const Decoded d = decode(write_sound(w.path(c.name), x, c.format, 8000, 2));
        EXPECT_EQ(d.info.rate_hz, 8000) << c.name;
        EXPECT_EQ(d.info.channels, 2) << c.name;
        EXPECT_LE(worst(d.samples, x), c.tolerance) << c.name;
    }
    // MP3 begins with silence of its coder.
    const Decoded mp3 = decode(write_sound(w.path("a.mp3"), tone(16000, 1, 440, 16000),
                                           SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, 16000));
    EXPECT_GE(mp3.samples.size(), 16000u);
    EXPECT_NEAR(*std::max_element(mp3.samples.begin(), mp3.samples.end()), 0.5, 0.05);
}

TEST(Audio, floats_beyond_full_scale_are_kept_and_others_are_errors_with_their_place) {
    const Scratch w;
    EXPECT_THAT(
        decode(write_sound(w.path("loud.wav"), {0, 1.5f, -3, 1}, SF_FORMAT_WAV | SF_FORMAT_FLOAT)).samples,
        ElementsAre(0, 1.5f, -3, 1));
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        std::vector<float> x = tone(1000, 2);
        x[2 * 321 + 1] = bad;
        const std::string path = write_sound(w.path("nan.wav"), x, SF_FORMAT_WAV | SF_FORMAT_FLOAT, 8000, 2);
        EXPECT_THAT(decode_error(path), HasSubstr("nan.wav: frame 321 (0.040 s), channel 2"));
    }
}

TEST(Audio, formats_of_which_a_cut_cannot_be_told_are_not_read) {
    const Scratch w;
    for (const int format : {SF_FORMAT_W64, SF_FORMAT_AU, SF_FORMAT_CAF})
        EXPECT_THAT(decode_error(write_sound(w.path("x"), tone(100), format | SF_FORMAT_PCM_16)),
                    AllOf(HasSubstr("nothing tells whether it was cut"), HasSubstr("ffmpeg -i FILE")));
}

TEST(Audio, a_pipe_is_spooled_and_bounded) {
    const Scratch w;
    const std::vector<float> x = tone(50000);
    const std::string bytes = read_file(write_sound(w.path("a.flac"), x, SF_FORMAT_FLAC | SF_FORMAT_PCM_16));
    const auto through_pipe = [&](int64_t limit) {
        int ends[2];
        EXPECT_EQ(::pipe(ends), 0);
        std::thread writer([&] {
            for (size_t at = 0; at < bytes.size();) {
                const ssize_t n = ::write(ends[1], bytes.data() + at, bytes.size() - at);
                if (n <= 0) break;
                at += static_cast<size_t>(n);
            }
            ::close(ends[1]);
        });
        std::vector<float> all(x.size());
        std::string error;
        try {
            const AudioInput input(fmt::format("/dev/fd/{}", ends[0]), limit);
            for (int pass = 0; pass < 2; ++pass) EXPECT_EQ(AudioReader(input).read(all), 50000);
        } catch (const Error& e) {
            error = e.what();
        }
        // What the reader left must not hold the writer up.
        char rest[4096];
        while (::read(ends[0], rest, sizeof rest) > 0) {
        }
        writer.join();
        ::close(ends[0]);
        EXPECT_TRUE(!error.empty() || worst(all, x) <= 1.0 / 32767);
        return error;
    };
    EXPECT_EQ(through_pipe(1 << 20), "");
    EXPECT_THAT(through_pipe(1000), HasSubstr("more than 1000 bytes"));
}

TEST(Audio, what_is_written_is_read_back) {
    const Scratch w;
    const std::vector<float> x = tone(70001);
    for (const AudioFileType type : {AudioFileType::wav, AudioFileType::flac}) {
        std::vector<std::byte> memory;
        AudioWriter to_file(w.path("a"), type, 16000), to_memory(memory, type, 16000);
        for (size_t at = 0; at < x.size(); at += 999) {
            const auto piece = std::span(x).subspan(at, std::min<size_t>(999, x.size() - at));
            to_file.write(piece);
            to_memory.write(piece);
        }
        to_file.finish();
        to_memory.finish();
        w.put("b", std::string(reinterpret_cast<const char*>(memory.data()), memory.size()));
        for (const char* name : {"a", "b"}) {
            const Decoded d = decode(w.path(name));
            EXPECT_EQ(d.info.rate_hz, 16000);
            EXPECT_LE(worst(d.samples, x), 0.5001 / 32768);
        }
    }
    EXPECT_THROW(AudioWriter(w.path("missing/a.wav"), AudioFileType::wav, 8000), Error);
    EXPECT_THROW(AudioWriter(w.path("a.wav"), AudioFileType::wav, 0), Error);
}

}  // namespace
}  // namespace adder
