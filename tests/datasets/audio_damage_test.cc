// Audio files that were cut, are damaged or say what is not so.
#include <gmock/gmock.h>

#include "datasets/audio.h"
#include "io/file.h"
#include "tests/datasets/decoded.h"
#include "tests/datasets/sound.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Audio, a_wav_cut_anywhere_is_one_error) {
    const Scratch w;
    for (const int format : {SF_FORMAT_WAV | SF_FORMAT_PCM_16, SF_FORMAT_RF64 | SF_FORMAT_PCM_16,
                             SF_FORMAT_AIFF | SF_FORMAT_PCM_16}) {
        const std::string whole = read_file(write_sound(w.path("whole"), tone(64), format));
        // RIFF and RF64 of libsndfile end with the samples; a last chunk or byte of padding behind them is
        // not missed.
        for (size_t n = 0; n < whole.size() - 1; ++n) {
            const std::string path = w.put("cut.wav", whole.substr(0, n));
            EXPECT_THAT(decode_error(path), HasSubstr("cut.wav"))
                << n << " bytes of " << whole.size() << ", format " << format;
        }
    }
    EXPECT_THAT(decode_error(w.put("empty.wav", "")), HasSubstr("is empty"));
}

TEST(Audio, a_flac_cut_anywhere_is_one_error) {
    const Scratch w;
    const std::string whole =
        read_file(write_sound(w.path("whole.flac"), noise(9000), SF_FORMAT_FLAC | SF_FORMAT_PCM_16));
    for (size_t n = 0; n < whole.size(); n += n < 200 ? 1 : 97)
        EXPECT_THAT(decode_error(w.put("cut.flac", whole.substr(0, n))), HasSubstr("cut.flac"))
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
        EXPECT_EQ(decode_error(w.put(name, whole)), "");
        for (size_t n = 0; n < whole.size(); n += n < 300 || n + 300 > whole.size() ? 1 : 331)
            EXPECT_THAT(decode_error(w.put(name, whole.substr(0, n))), HasSubstr(name)) << n << " of " << whole.size();
    }
}

TEST(Audio, an_ogg_opus_or_mp3_that_is_damaged_within_is_one_error) {
    const Scratch w;
    for (const auto& [name, format] : kStreams) {
        const std::string whole = read_file(write_sound(w.path("whole"), noise(48000), format, 16000));
        for (size_t at = whole.size() / 8; at + 2000 < whole.size(); at += whole.size() / 8) {
            std::string bytes = whole;
            for (size_t i = at; i < at + 2000; ++i) bytes[i] = static_cast<char>(~bytes[i]);
            EXPECT_THAT(decode_error(w.put(name, bytes)), HasSubstr("cut or damaged")) << name << ", byte " << at;
            EXPECT_THAT(decode_error(w.put(name, whole.substr(0, at) + whole.substr(at + 2000))),
                        HasSubstr("cut or damaged"))
                << name << " without bytes from " << at;
        }
    }
    // A second stream behind the first is one that decoders do not come to.
    const std::string ogg = read_file(write_sound(w.path("a.ogg"), noise(9000), kStreams[0].format));
    EXPECT_THAT(decode_error(w.put("two.ogg", ogg + ogg)),
                AllOf(HasSubstr("another stream of Ogg begins at byte"), HasSubstr("one after another"),
                      HasSubstr("ffmpeg -i FILE")));
    // Tags around MP3 are none of its frames.
    const std::string mp3 = read_file(write_sound(w.path("a.mp3"), noise(9000), kStreams[2].format, 16000));
    const std::string id3("ID3\4\0\0\0\0\0\5.....", 15), tag = "TAG" + std::string(125, ' ');
    EXPECT_EQ(decode_error(w.put("tags.mp3", id3 + mp3 + tag)), "");
    EXPECT_EQ(decode_error(w.put("tags.mp3", mp3 + tag + "and more")), "");
    // Of several in one file the decoder gives the first.
    for (const std::string& between : {std::string(), tag, id3, tag + id3})
        EXPECT_THAT(
            decode_error(w.put("two.mp3", mp3 + between + mp3)),
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
    EXPECT_EQ(decode_error(w.path("vbr.mp3")), "");
    std::string none = vbr, fewer = vbr;
    none.replace(promise, 4, 4, '\0');
    EXPECT_THAT(decode_error(w.put("none.mp3", none)),
                AllOf(HasSubstr("a variable bit rate without its length"), HasSubstr("ffmpeg -i FILE")));
    fewer[promise + 11] = static_cast<char>(fewer[promise + 11] - 2);
    EXPECT_THAT(decode_error(w.put("fewer.mp3", fewer)),
                AllOf(HasSubstr("frames of MPEG audio, its header says"), HasSubstr("ffmpeg -i FILE")));
}

// Of a header of FLAC: so many samples, 0 = not known.
std::string promising(std::string flac, int64_t samples) {
    flac[21] = static_cast<char>(flac[21] & 0xF0);
    for (size_t i = 0; i < 4; ++i) flac[22 + i] = static_cast<char>(samples >> (24 - 8 * i) & 255);
    return flac;
}

TEST(Audio, a_flac_of_unknown_length_cut_within_a_frame_is_an_error) {
    const Scratch w;
    const std::string whole = promising(
        read_file(write_sound(w.path("whole.flac"), noise(9000), SF_FORMAT_FLAC | SF_FORMAT_PCM_16)), 0);
    EXPECT_EQ(decode(w.put("pipe.flac", whole)).samples.size(), 9000u);
    for (size_t n = whole.size() - 1; n > whole.size() - 1500; n -= 7)
        EXPECT_THAT(decode_error(w.put("pipe.flac", whole.substr(0, n))), HasSubstr("pipe.flac"))
            << n << " of " << whole.size();
}

TEST(Audio, a_flac_that_is_damaged_within_was_not_cut) {
    const Scratch w;
    const std::string whole =
        read_file(write_sound(w.path("whole.flac"), noise(30000), SF_FORMAT_FLAC | SF_FORMAT_PCM_16));
    for (size_t at = whole.size() / 4; at + 6000 < whole.size(); at += 1999) {
        std::string flipped = whole;
        for (size_t i = at; i < at + 2000; ++i) flipped[i] = static_cast<char>(~flipped[i]);
        for (const std::string& bytes : {flipped, whole.substr(0, at) + whole.substr(at + 2000)})
            EXPECT_THAT(decode_error(w.put("hole.flac", bytes)), HasSubstr("the file is damaged")) << "byte " << at;
    }
    EXPECT_THAT(decode_error(w.put("cut.flac", whole.substr(0, whole.size() / 2))), HasSubstr("the file was cut"));
}

TEST(Audio, a_flac_whose_header_promises_too_few_samples_is_an_error) {
    const Scratch w;
    const std::string whole =
        read_file(write_sound(w.path("whole.flac"), noise(9000), SF_FORMAT_FLAC | SF_FORMAT_PCM_16));
    EXPECT_EQ(decode_error(w.put("tags.flac", whole + "TAG" + std::string(125, ' '))), "");
    for (const int promised : {1, 4096, 8192, 8999}) {
        EXPECT_THAT(
            decode_error(w.put("fewer.flac", promising(whole, promised))),
            HasSubstr(fmt::format("its header says {} samples, the frame of FLAC at byte", promised)));
    }
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
    const auto error = [&](const std::string& header) { return decode_error(w.put("x.wav", header + samples)); };
    for (const uint32_t hz : {0u, 0xFFFFFFFFu})
        EXPECT_THAT(error(wav_header(400, hz, 1, 2, 16)),
                    HasSubstr(fmt::format("x.wav: a sample rate of {} Hz, expected 1000 to 768000", hz)));
    EXPECT_THAT(error(wav_header(400, 999, 1, 2, 16)), HasSubstr("999 Hz, expected 1000 to 768000"));
    EXPECT_THAT(error(wav_header(400, 768001, 1, 2, 16)), HasSubstr("768001 Hz"));
    EXPECT_THAT(error(wav_header(400, 8000, 1, 4, 24)), HasSubstr("samples of 24 bits in blocks of 4 bytes"));
    EXPECT_THAT(error(wav_header(400, 8000, 0, 2, 16)), HasSubstr("x.wav: has 0 channels"));
    EXPECT_THAT(error(wav_header(400, 8000, 1, 8, 64)), HasSubstr("PCM of 8, 16, 24 or 32 bits or floating point"));
    EXPECT_EQ(error(wav_header(400, 8000, 200, 400, 16)), "");  // 200 channels
    EXPECT_THAT(decode_error(w.put("x.wav", wav_header(0, 8000, 1, 2, 16))), HasSubstr("no frames"));
    EXPECT_THAT(decode_error(w.put("x.wav", wav_header(0, 8000, 1, 2, 16) + std::string("LIST\4\0\0\0abcd", 12))),
                HasSubstr("no frames"));
    EXPECT_THAT(error(wav_header(0, 8000, 1, 2, 16)),
                HasSubstr("the header says 0 bytes of samples, 400 follow; hint: the recorder was stopped; sox"));
    EXPECT_THAT(decode_error(w.put("x.wav", std::string("\0\0\0\x20", 4) + "ftypM4A ....moov")),
                HasSubstr("is an MP4 file, which cannot be read; hint: convert it: ffmpeg -i FILE"));
    EXPECT_THAT(decode_error(w.put("x.wav", "%PDF-1.7 and more of it")), HasSubstr("a PDF document"));
    // The width and the rate that a FLAC header states.
    std::string flac = read_file(write_sound(w.path("a"), tone(2000), SF_FORMAT_FLAC | SF_FORMAT_PCM_16));
    for (const auto& [bits, text] : {std::pair{32, "is FLAC of 32 bits"}, {15, "is FLAC of 15 bits"}}) {
        std::string other = flac;
        other[20] = static_cast<char>((other[20] & ~1) | (bits - 1) >> 4);
        other[21] = static_cast<char>((other[21] & 15) | (bits - 1) << 4);
        EXPECT_THAT(decode_error(w.put("x.flac", other)),
                    AllOf(HasSubstr(text), HasSubstr("of 8, 16 and 24 bits it is read; convert it: ffmpeg")));
    }
    flac[18] = flac[19] = 0, flac[20] = static_cast<char>(flac[20] & 15);
    EXPECT_THAT(decode_error(w.put("x.flac", flac)), HasSubstr("a sample rate of 0 Hz, expected"));
    EXPECT_THAT(decode_error(w.put("x.wav", "name\tlabel\n")), HasSubstr("not recognised"));
    EXPECT_THAT(decode_error(w.path("none.wav")), HasSubstr("No such file"));
    EXPECT_THAT(decode_error(w.path("")), HasSubstr("is a folder"));
}

TEST(Audio, samples_behind_those_that_a_wav_promises_are_an_error_and_chunks_are_none) {
    const Scratch w;
    const std::string header = wav_header(200, 8000, 1, 2, 16), samples(200, '\1');
    const auto error = [&](const std::string& more) { return decode_error(w.put("x.wav", header + samples + more)); };
    EXPECT_THAT(error(std::string(600, '\1')),
                HasSubstr("x.wav: the header says 200 bytes of samples, 800 follow; hint: the recorder was stopped"));
    EXPECT_THAT(error(std::string("note\xFF\0\0\0....", 12)), HasSubstr("200 bytes of samples, 212 follow"));
    for (const std::string& more :
         {std::string("LIST\4\0\0\0abcd", 12), std::string("LIST\xFF\0\0\0cut", 11),
          std::string("note\4\0\0\0abcd", 12), "TAG" + std::string(125, ' '), std::string(3000, '\0'), std::string("abc")})
        EXPECT_EQ(error(more), "") << more;
    // An odd number of bytes is filled up, by most writers.
    for (const char* fill : {"", "\1"})
        EXPECT_EQ(decode_error(w.put("odd.wav", wav_header(101, 8000, 1, 1, 8) + std::string(101, '\1') + fill +
                                                std::string("LIST\4\0\0\0abcd", 12))),
                  "");
}

TEST(Audio, what_fills_the_last_block_of_a_coded_wav_is_no_sample) {
    const Scratch w;
    for (const int coding : {SF_FORMAT_IMA_ADPCM, SF_FORMAT_MS_ADPCM, SF_FORMAT_GSM610}) {
        std::string wav = read_file(write_sound(w.path("a.wav"), tone(8000), SF_FORMAT_WAV | coding));
        const size_t fact = wav.find("fact");
        ASSERT_NE(fact, wav.npos);
        for (size_t i = 0; i < 4; ++i) wav[fact + 8 + i] = static_cast<char>(7990 >> (8 * i) & 255);
        const Decoded d = decode(w.put("b.wav", wav));
        EXPECT_EQ(d.info.frames, 7990) << coding;
        EXPECT_EQ(d.samples.size(), 7990u) << coding;
        wav[fact + 8] = wav[fact + 9] = 1;  // nothing that filling up explains
        EXPECT_GE(decode(w.put("b.wav", wav)).samples.size(), 8000u) << coding;
    }
}

TEST(Audio, what_is_not_read_is_said_as_it_is) {
    const Scratch w;
    const std::string wav = wav_header(200, 8000, 1, 2, 16) + std::string(200, '\1') +
                            std::string("data\4\0\0\0abcd", 12);
    EXPECT_THAT(decode_error(w.put("two.wav", wav)), AllOf(HasSubstr("has 2 chunks of samples"), HasSubstr("ffmpeg")));
    const std::string page = "OggS" + std::string(23, '\0') + "\x33\x7F" + "FLAC" + std::string(60, '\0');
    EXPECT_THAT(decode_error(w.put("a.oga", page)),
                AllOf(HasSubstr("is FLAC in Ogg, which cannot be read"), HasSubstr("ffmpeg")));
}

}  // namespace
}  // namespace adder
