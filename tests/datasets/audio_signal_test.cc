#include "datasets/audio_signal.h"

#include <gmock/gmock.h>

#include <fstream>

#include "core/error.h"
#include "tests/datasets/sound.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using ::testing::ElementsAre;

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
