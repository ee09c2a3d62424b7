// Audio files for tests, written by libsndfile itself.
#pragma once
#include <gtest/gtest.h>
#include <sndfile.h>

#include <cmath>
#include <numbers>
#include <string>
#include <vector>

namespace adder {

// A tone of half of full scale; channel c is c octaves higher.
inline std::vector<float> tone(int64_t frames, int64_t channels = 1, double hz = 440, double rate = 8000) {
    std::vector<float> x;
    for (int64_t i = 0; i < frames; ++i)
        for (int64_t c = 0; c < channels; ++c)
            x.push_back(static_cast<float>(
                0.5 * std::sin(2 * std::numbers::pi * hz * std::exp2(static_cast<double>(c)) *
                               static_cast<double>(i) / rate)));
    return x;
}

inline std::string write_sound(const std::string& path, const std::vector<float>& samples, int format,
                               int rate = 8000, int channels = 1) {
    SF_INFO info{};
    info.samplerate = rate;
    info.channels = channels;
    info.format = format;
    SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
    EXPECT_NE(file, nullptr) << path << ": " << sf_strerror(nullptr);
    if (!file) return path;
    const auto n = static_cast<sf_count_t>(samples.size()) / channels;
    EXPECT_EQ(sf_writef_float(file, samples.data(), n), n);
    sf_close(file);
    return path;
}

inline std::string write_wav(const std::string& path, const std::vector<float>& samples, int rate = 8000,
                             int channels = 1) {
    return write_sound(path, samples, SF_FORMAT_WAV | SF_FORMAT_PCM_16, rate, channels);
}

}  // namespace adder
