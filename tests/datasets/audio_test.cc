#include "datasets/audio.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <random>
#include <thread>

#include "core/error.h"
#include "datasets/audio_inputs.h"
#include "datasets/audio_signal.h"
#include "datasets/resample.h"
#include "io/file.h"
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

struct Decoded {
    AudioInfo info;
    std::vector<float> samples;
};

Decoded decode(const std::string& path) {
    const AudioInput input(path);
    AudioReader reader(input);
    Decoded d{reader.info(), {}};
    std::vector<float> block(static_cast<size_t>(d.info.channels * 100));
    while (const int64_t n = reader.read(block))
        d.samples.insert(d.samples.end(), block.begin(), block.begin() + n * d.info.channels);
    return d;
}

std::string error_of(const std::string& path) {
    try {
        decode(path);
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}

double worst(const std::vector<float>& a, const std::vector<float>& b) {
    EXPECT_EQ(a.size(), b.size());
    double d = 0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
        d = std::max(d, std::abs(static_cast<double>(a[i]) - b[i]));
    return d;
}

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
        EXPECT_THAT(error_of(path), HasSubstr("nan.wav: frame 321 (0.040 s), channel 2"));
    }
}

TEST(Audio, a_wav_cut_anywhere_is_one_error) {
    const Scratch w;
    for (const int format : {SF_FORMAT_WAV | SF_FORMAT_PCM_16, SF_FORMAT_RF64 | SF_FORMAT_PCM_16,
                             SF_FORMAT_AIFF | SF_FORMAT_PCM_16}) {
        const std::string whole = read_file(write_sound(w.path("whole"), tone(64), format));
        // RIFF and RF64 of libsndfile end with the samples; a last chunk or byte of padding behind them is
        // not missed.
        for (size_t n = 0; n < whole.size() - 1; ++n) {
            const std::string path = w.put("cut.wav", whole.substr(0, n));
            EXPECT_THAT(error_of(path), HasSubstr("cut.wav"))
                << n << " bytes of " << whole.size() << ", format " << format;
        }
    }
    EXPECT_THAT(error_of(w.put("empty.wav", "")), HasSubstr("is empty"));
}

std::vector<float> noise(size_t n) {
    std::mt19937 random(1);
    std::vector<float> x(n);
    for (float& v : x) v = static_cast<float>(random() % 1000) / 1000 - 0.5f;
    return x;
}

TEST(Audio, a_flac_cut_anywhere_is_one_error) {
    const Scratch w;
    const std::string whole =
        read_file(write_sound(w.path("whole.flac"), noise(9000), SF_FORMAT_FLAC | SF_FORMAT_PCM_16));
    for (size_t n = 0; n < whole.size(); n += n < 200 ? 1 : 97)
        EXPECT_THAT(error_of(w.put("cut.flac", whole.substr(0, n))), HasSubstr("cut.flac"))
            << n << " of " << whole.size();
}

const struct {
    const char* name;
    int format;
} kStreams[] = {{"x.ogg", SF_FORMAT_OGG | SF_FORMAT_VORBIS},
                {"x.opus", SF_FORMAT_OGG | SF_FORMAT_OPUS},
                {"x.mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III}};

TEST(Audio, an_ogg_opus_or_mp3_cut_anywhere_is_one_error) {
    const Scratch w;
    for (const auto& [name, format] : kStreams) {
        const std::string whole = read_file(write_sound(w.path("whole"), noise(48000), format, 16000));
        EXPECT_EQ(error_of(w.put(name, whole)), "");
        for (size_t n = 0; n < whole.size(); n += n < 300 || n + 300 > whole.size() ? 1 : 331)
            EXPECT_THAT(error_of(w.put(name, whole.substr(0, n))), HasSubstr(name)) << n << " of " << whole.size();
    }
}

TEST(Audio, an_ogg_opus_or_mp3_that_is_damaged_within_is_one_error) {
    const Scratch w;
    for (const auto& [name, format] : kStreams) {
        const std::string whole = read_file(write_sound(w.path("whole"), noise(48000), format, 16000));
        for (size_t at = whole.size() / 8; at + 2000 < whole.size(); at += whole.size() / 8) {
            std::string bytes = whole;
            for (size_t i = at; i < at + 2000; ++i) bytes[i] = static_cast<char>(~bytes[i]);
            EXPECT_THAT(error_of(w.put(name, bytes)), HasSubstr("cut or damaged")) << name << ", byte " << at;
            EXPECT_THAT(error_of(w.put(name, whole.substr(0, at) + whole.substr(at + 2000))),
                        HasSubstr("cut or damaged"))
                << name << " without bytes from " << at;
        }
    }
    // A second stream behind the first is one that decoders do not come to.
    const std::string ogg = read_file(write_sound(w.path("a.ogg"), noise(9000), kStreams[0].format));
    EXPECT_THAT(error_of(w.put("two.ogg", ogg + ogg)),
                AllOf(HasSubstr("another stream of Ogg begins at byte"), HasSubstr("one after another"),
                      HasSubstr("ffmpeg -i FILE")));
    // Tags around MP3 are none of its frames.
    const std::string mp3 = read_file(write_sound(w.path("a.mp3"), noise(9000), kStreams[2].format, 16000));
    const std::string id3("ID3\4\0\0\0\0\0\5.....", 15), tag = "TAG" + std::string(125, ' ');
    EXPECT_EQ(error_of(w.put("tags.mp3", id3 + mp3 + tag)), "");
    EXPECT_EQ(error_of(w.put("tags.mp3", mp3 + tag + "and more")), "");
    // Of several in one file the decoder gives the first.
    for (const std::string& between : {std::string(), tag, id3, tag + id3})
        EXPECT_THAT(
            error_of(w.put("two.mp3", mp3 + between + mp3)),
            AllOf(HasSubstr("another stream of MPEG audio begins at byte"), HasSubstr("ffmpeg -i FILE")));
}

TEST(Audio, an_mp3_whose_header_says_no_or_too_small_a_length_loses_no_sample_quietly) {
    const Scratch w;
    SF_INFO info{};
    info.samplerate = 16000;
    info.channels = 1;
    info.format = kStreams[2].format;
    SNDFILE* file = sf_open(w.path("vbr.mp3").c_str(), SFM_WRITE, &info);
    ASSERT_NE(file, nullptr);
    int mode = SF_BITRATE_MODE_VARIABLE;
    sf_command(file, SFC_SET_BITRATE_MODE, &mode, sizeof mode);
    std::vector<float> x = noise(16000);
    x.resize(160000);  // silence, of small frames
    sf_writef_float(file, x.data(), std::ssize(x));
    sf_close(file);
    const std::string vbr = read_file(w.path("vbr.mp3"));
    const size_t promise = vbr.find("Xing");
    ASSERT_NE(promise, vbr.npos);
    EXPECT_EQ(error_of(w.path("vbr.mp3")), "");
    std::string none = vbr, fewer = vbr;
    none.replace(promise, 4, 4, '\0');
    EXPECT_THAT(error_of(w.put("none.mp3", none)),
                AllOf(HasSubstr("a variable bit rate without its length"), HasSubstr("ffmpeg -i FILE")));
    fewer[promise + 11] = static_cast<char>(fewer[promise + 11] - 2);
    EXPECT_THAT(error_of(w.put("fewer.mp3", fewer)),
                AllOf(HasSubstr("frames of MPEG audio, its header says"), HasSubstr("ffmpeg -i FILE")));
}

TEST(Audio, a_flac_whose_header_promises_too_few_samples_is_an_error) {
    const Scratch w;
    const std::string whole =
        read_file(write_sound(w.path("whole.flac"), noise(9000), SF_FORMAT_FLAC | SF_FORMAT_PCM_16));
    EXPECT_EQ(error_of(w.put("tags.flac", whole + "TAG" + std::string(125, ' '))), "");
    for (const int promised : {1, 4096, 8192, 8999}) {
        std::string fewer = whole;
        fewer[24] = static_cast<char>(promised >> 8);
        fewer[25] = static_cast<char>(promised & 255);
        EXPECT_THAT(
            error_of(w.put("fewer.flac", fewer)),
            HasSubstr(fmt::format("its header says {} samples, the frame of FLAC at byte", promised)));
    }
}

TEST(Audio, formats_of_which_a_cut_cannot_be_told_are_not_read) {
    const Scratch w;
    for (const int format : {SF_FORMAT_W64, SF_FORMAT_AU, SF_FORMAT_CAF})
        EXPECT_THAT(error_of(write_sound(w.path("x"), tone(100), format | SF_FORMAT_PCM_16)),
                    AllOf(HasSubstr("nothing tells whether it was cut"), HasSubstr("ffmpeg -i FILE")));
}

// A WAV header by hand; the sizes are what it says, not what follows.
std::string wav_header(uint32_t data_bytes, uint32_t rate, uint16_t channels, uint16_t block, uint16_t bits) {
    std::string h = "RIFF....WAVEfmt ";
    const auto put = [&](uint64_t value, int n) {
        for (int i = 0; i < n; ++i) h += static_cast<char>(value >> (8 * i) & 255);
    };
    put(16, 4), put(1, 2), put(channels, 2), put(rate, 4), put(uint64_t{rate} * block, 4), put(block, 2),
        put(bits, 2);
    h += "data";
    put(data_bytes, 4);
    return h;
}

TEST(Audio, a_length_that_a_pipe_could_not_fill_in_is_no_error) {
    const Scratch w;
    const std::string samples(200, '\1');
    for (const uint32_t size : {0xFFFFFFFFu, 0xFFFFFFFFu - 36, 0x7FFFFFFFu, 0x7FFFFFFFu - 36})
        EXPECT_EQ(decode(w.put("pipe.wav", wav_header(size, 8000, 1, 2, 16) + samples)).samples.size(), 100u)
            << size;
}

TEST(Audio, bad_headers_are_errors_that_say_why) {
    const Scratch w;
    const std::string samples(400, '\1');
    const auto error = [&](const std::string& header) { return error_of(w.put("x.wav", header + samples)); };
    for (const uint32_t hz : {0u, 0xFFFFFFFFu})
        EXPECT_THAT(error(wav_header(400, hz, 1, 2, 16)),
                    HasSubstr(fmt::format("x.wav: a sample rate of {} Hz, expected 1000 to 768000", hz)));
    EXPECT_THAT(error(wav_header(400, 999, 1, 2, 16)), HasSubstr("999 Hz, expected 1000 to 768000"));
    EXPECT_THAT(error(wav_header(400, 768001, 1, 2, 16)), HasSubstr("768001 Hz"));
    EXPECT_THAT(error(wav_header(400, 8000, 1, 4, 24)), HasSubstr("samples of 24 bits in blocks of 4 bytes"));
    EXPECT_THAT(error(wav_header(400, 8000, 0, 2, 16)), HasSubstr("x.wav: has 0 channels"));
    EXPECT_THAT(error(wav_header(400, 8000, 1, 8, 64)), HasSubstr("PCM of 8, 16, 24 or 32 bits or floating point"));
    EXPECT_EQ(error(wav_header(400, 8000, 200, 400, 16)), "");  // 200 channels
    EXPECT_THAT(error_of(w.put("x.wav", wav_header(0, 8000, 1, 2, 16))), HasSubstr("no frames"));
    EXPECT_THAT(error_of(w.put("x.wav", wav_header(0, 8000, 1, 2, 16) + std::string("LIST\4\0\0\0abcd", 12))),
                HasSubstr("no frames"));
    EXPECT_THAT(error(wav_header(0, 8000, 1, 2, 16)),
                HasSubstr("the header says 0 bytes of samples, 400 follow; hint: the recorder was stopped; sox"));
    EXPECT_THAT(error_of(w.put("x.wav", std::string("\0\0\0\x20", 4) + "ftypM4A ....moov")),
                HasSubstr("is an MP4 file, which cannot be read; hint: convert it: ffmpeg -i FILE"));
    EXPECT_THAT(error_of(w.put("x.wav", "%PDF-1.7 and more of it")), HasSubstr("a PDF document"));
    // The width and the rate that a FLAC header states.
    std::string flac = read_file(write_sound(w.path("a"), tone(2000), SF_FORMAT_FLAC | SF_FORMAT_PCM_16));
    for (const auto& [bits, text] : {std::pair{32, "is FLAC of 32 bits"}, {15, "is FLAC of 15 bits"}}) {
        std::string other = flac;
        other[20] = static_cast<char>((other[20] & ~1) | (bits - 1) >> 4);
        other[21] = static_cast<char>((other[21] & 15) | (bits - 1) << 4);
        EXPECT_THAT(error_of(w.put("x.flac", other)),
                    AllOf(HasSubstr(text), HasSubstr("of 8, 16 and 24 bits it is read; convert it: ffmpeg")));
    }
    flac[18] = flac[19] = 0, flac[20] = static_cast<char>(flac[20] & 15);
    EXPECT_THAT(error_of(w.put("x.flac", flac)), HasSubstr("a sample rate of 0 Hz, expected"));
    EXPECT_THAT(error_of(w.put("x.wav", "name\tlabel\n")), HasSubstr("not recognised"));
    EXPECT_THAT(error_of(w.path("none.wav")), HasSubstr("No such file"));
    EXPECT_THAT(error_of(w.path("")), HasSubstr("is a folder"));
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

std::vector<std::vector<float>> signal_of(const std::string& path, ChannelPolicy policy, int64_t rate,
                                          const SignalRange& range = {}) {
    const AudioInput input(path);
    AudioReader reader(input);
    std::vector<std::vector<float>> lanes(64);
    const SignalLength length =
        read_signal(reader, path, range, policy, rate, [&](int64_t lane, std::span<const float> s) {
            auto& to = lanes[static_cast<size_t>(lane)];
            to.insert(to.end(), s.begin(), s.end());
        });
    lanes.resize(static_cast<size_t>(length.lanes));
    for (const auto& lane : lanes) EXPECT_EQ(static_cast<int64_t>(lane.size()), length.samples);
    return lanes;
}

TEST(Signal, channels_are_picked_mixed_or_kept_apart) {
    const Scratch w;
    const std::string path = write_sound(w.path("a.wav"), {0.25f, 0.5f, 0.75f, -0.25f, -0.5f, 0},
                                         SF_FORMAT_WAV | SF_FORMAT_FLOAT, 8000, 3);
    EXPECT_THAT(signal_of(path, ChannelPolicy::first, 8000), ElementsAre(ElementsAre(0.25f, -0.25f)));
    EXPECT_THAT(signal_of(path, ChannelPolicy::mix, 8000), ElementsAre(ElementsAre(0.5f, -0.25f)));
    EXPECT_THAT(signal_of(path, ChannelPolicy::each, 8000),
                ElementsAre(ElementsAre(0.25f, -0.25f), ElementsAre(0.5f, -0.5f), ElementsAre(0.75f, 0)));
}

TEST(Signal, a_range_is_what_the_whole_file_has_there_in_every_format) {
    const Scratch w;
    const std::vector<float> x = tone(20000);
    for (const int format : {SF_FORMAT_WAV | SF_FORMAT_PCM_16, SF_FORMAT_FLAC | SF_FORMAT_PCM_16,
                             SF_FORMAT_OGG | SF_FORMAT_VORBIS}) {
        const std::string path = write_sound(w.path("a"), x, format);
        const std::vector<float> all = signal_of(path, ChannelPolicy::mix, 8000)[0];
        const std::vector<float> part = signal_of(path, ChannelPolicy::mix, 8000, {0.1, 2.2})[0];
        EXPECT_EQ(part, std::vector<float>(all.begin() + 800, all.begin() + 17600));
        EXPECT_EQ(signal_of(path, ChannelPolicy::mix, 8000, {2.4, 2.505})[0].size(),
                  800u);  // 5 ms past the end
        EXPECT_THROW(signal_of(path, ChannelPolicy::mix, 8000, {2.4, 2.6}), Error);
        EXPECT_THROW(signal_of(path, ChannelPolicy::mix, 8000, {2.5, 2.6}), Error);
        EXPECT_THROW(signal_of(path, ChannelPolicy::mix, 8000, {1e12, {}}), Error);
    }
}

int64_t peak_memory_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
    return -1;
}

TEST(Signal, memory_does_not_grow_with_the_length) {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "sanitizers keep what is freed";
#endif
    const Scratch w;
    // Four minutes of stereo at 44.1 kHz: 85 MB as floats.
    SF_INFO info{};
    info.samplerate = 44100;
    info.channels = 2;
    info.format = SF_FORMAT_FLAC | SF_FORMAT_PCM_16;
    SNDFILE* file = sf_open(w.path("long.flac").c_str(), SFM_WRITE, &info);
    const std::vector<float> second = tone(44100, 2, 441, 44100);
    for (int i = 0; i < 240; ++i) sf_writef_float(file, second.data(), 44100);
    sf_close(file);
    const AudioInput input(w.path("long.flac"));
    AudioReader reader(input);
    const int64_t before = peak_memory_bytes();
    if (before < 0) GTEST_SKIP() << "no /proc here";
    int64_t n = 0;
    read_signal(reader, "long.flac", {}, ChannelPolicy::mix, 16000,
                [&](int64_t, std::span<const float> s) { n += static_cast<int64_t>(s.size()); });
    EXPECT_EQ(n, 240 * 16000);
    EXPECT_LT(peak_memory_bytes() - before, 16 << 20);
}

}  // namespace
}  // namespace adder
