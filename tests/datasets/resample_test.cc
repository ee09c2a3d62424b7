#include "datasets/resample.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/datasets/sound.h"

namespace adder {
namespace {

std::vector<float> resample(const std::vector<float>& x, int64_t from, int64_t to, size_t block) {
    Resampler r(from, to);
    std::vector<float> y;
    for (size_t at = 0; at < x.size(); at += block)
        r.process(std::span(x).subspan(at, std::min(block, x.size() - at)), y);
    r.finish(y);
    return y;
}

TEST(Resample, n_samples_become_the_next_whole_number_of_n_R_over_r) {
    for (const auto& [from, to] : {std::pair{44100, 16000},
                                   {16000, 44100},
                                   {48000, 8000},
                                   {8000, 48000},
                                   {11025, 16000},
                                   {768000, 1000},
                                   {1000, 768000},
                                   {16000, 16000},
                                   {35467, 16000}})
        for (const int64_t n : {1, 2, 3, 47, 48, 49, 1000, 4801}) {
            const int64_t exact = n * to, wanted = exact / from + (exact % from != 0);
            EXPECT_EQ(resample(tone(n), from, to, 1 << 20).size(), static_cast<size_t>(wanted))
                << n << ": " << from << " to " << to;
            EXPECT_EQ(resampled_length(n, from, to), wanted);
        }
    // Where the product would not fit into 64 bits.
    EXPECT_EQ(resampled_length(int64_t{1} << 50, 1000, 768000), 768 * (int64_t{1} << 50));
}

TEST(Resample, a_tone_keeps_its_phase_and_what_lies_above_the_new_range_is_gone) {
    for (const auto& [from, to] : {std::pair{44100, 16000}, {48000, 8000}, {8000, 22050}, {22050, 16000}}) {
        const auto n = static_cast<int64_t>(from);
        const std::vector<float> y = resample(tone(n, 1, 1000, from), from, to, 1 << 20);
        const std::vector<float> wanted = tone(static_cast<int64_t>(y.size()), 1, 1000, to);
        double error = 0;
        for (size_t i = y.size() / 8; i < y.size() * 7 / 8; ++i)
            error = std::max(error, std::abs(static_cast<double>(y[i]) - wanted[i]));
        EXPECT_LT(error, 1e-5) << from << " to " << to;
        if (to > from) continue;
        const std::vector<float> above = resample(tone(n, 1, 0.55 * to, from), from, to, 1 << 20);
        double left = 0;
        for (size_t i = above.size() / 8; i < above.size() * 7 / 8; ++i)
            left = std::max(left, std::abs(static_cast<double>(above[i])));
        EXPECT_LT(left, 1e-5) << from << " to " << to;
    }
}

TEST(Resample, blocks_change_no_bit) {
    const std::vector<float> x = tone(10007), whole = resample(x, 44100, 16000, 1 << 20);
    for (const size_t block : {1, 7, 1000, 4096}) EXPECT_EQ(resample(x, 44100, 16000, block), whole) << block;
}

}  // namespace
}  // namespace adder
