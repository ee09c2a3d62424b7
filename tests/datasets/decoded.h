// What AudioReader makes of a file, for tests.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "core/error.h"
#include "datasets/audio.h"

namespace adder {

struct Decoded {
    AudioInfo info;
    std::vector<float> samples;
};

inline Decoded decode(const std::string& path) {
    const AudioInput input(path);
    AudioReader reader(input);
    Decoded d{reader.info(), {}};
    std::vector<float> block(static_cast<size_t>(d.info.channels * 100));
    while (const int64_t n = reader.read(block))
        d.samples.insert(d.samples.end(), block.begin(), block.begin() + n * d.info.channels);
    return d;
}

inline std::string decode_error(const std::string& path) {
    try {
        decode(path);
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}

inline double worst(const std::vector<float>& a, const std::vector<float>& b) {
    EXPECT_EQ(a.size(), b.size());
    double d = 0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
        d = std::max(d, std::abs(static_cast<double>(a[i]) - b[i]));
    return d;
}

inline std::vector<float> noise(size_t n) {
    std::mt19937 random(1);
    std::vector<float> x(n);
    for (float& v : x) v = static_cast<float>(random() % 1000) / 1000 - 0.5f;
    return x;
}

}  // namespace adder
