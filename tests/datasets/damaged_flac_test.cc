// FLAC files that say nothing of their length, and are damaged: the decoder takes what it cannot read for the
// end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "datasets/audio.h"
#include "io/file.h"
#include "tests/datasets/sound.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int64_t kSamples = 60000;

// Noise, so that its frames are large.
std::string flac(const Scratch& w) {
    const Philox rng(1, Stream::test);
    std::vector<float> x(kSamples);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(rng.below(1000, i)) / 1000 - 0.5f;
    return read_file(write_sound(w.path("a.flac"), x, SF_FORMAT_FLAC | SF_FORMAT_PCM_16));
}

// `n` in the 36 bits of the header that say how many samples there are.
std::string with_promise(std::string bytes, int64_t n) {
    bytes[21] = static_cast<char>(bytes[21] & 0xF0);
    for (size_t i = 0; i < 4; ++i) bytes[22 + i] = static_cast<char>(n >> (24 - 8 * i) & 255);
    return bytes;
}

// What reading says; "" where all samples came.
std::string error_of(const std::string& path) {
    try {
        const AudioInput input(path);
        AudioReader reader(input);
        std::vector<float> block(1000);
        int64_t n = 0;
        while (const int64_t got = reader.read(block)) n += got;
        return n == kSamples ? "" : "a quiet loss";
    } catch (const Error& e) {
        return e.what();
    }
}

TEST(DamagedFlac, of_unknown_length_is_an_error_wherever_a_frame_is_damaged) {
    const Scratch w;
    const std::string whole = with_promise(flac(w), 0);
    ASSERT_EQ(error_of(w.put("x.flac", whole)), "");
    for (size_t at = 9000; at < whole.size() - 100; at += 4001) {
        std::string bad = whole;
        std::fill_n(bad.begin() + static_cast<int64_t>(at), 90, '\0');
        EXPECT_THAT(error_of(w.put("x.flac", bad)), AllOf(HasSubstr("x.flac"), HasSubstr("hint: "))) << at;
    }
    std::string lost = whole;  // no frame is left behind the damage
    std::fill(lost.begin() + 30000, lost.end(), '\0');
    EXPECT_THAT(error_of(w.put("x.flac", lost)), HasSubstr("hint: "));
}

TEST(DamagedFlac, that_promises_far_too_few_samples_is_an_error) {
    const Scratch w;
    const std::string whole = flac(w);
    ASSERT_GT(whole.size(), size_t{90000});
    // The frame where the promise ends is not among the last 64 KiB.
    EXPECT_THAT(error_of(w.put("x.flac", with_promise(whole, 5000))),
                HasSubstr("its header says 5000 samples, the frame of FLAC at byte"));
}

}  // namespace
}  // namespace adder
