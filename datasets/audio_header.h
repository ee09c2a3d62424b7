// What the first bytes of an audio file say that libsndfile does not: other formats by name, files that were
// cut.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "datasets/audio.h"

namespace adder {

// What to do with a file that is audio, but not as it is read here.
inline constexpr const char* kConvert = "convert it: ffmpeg -i FILE -c:a pcm_s24le NEW.wav";

struct Unreadable {
    std::string what;  // "is an MP4 file"
    std::string hint;
};
// A common format that is no audio, or that libsndfile does not read or reads wrongly; none for all else.
std::optional<Unreadable> unreadable_format(const AudioInput& input);

// The sample rate that a header of RIFF, RIFX, RF64, AIFF or FLAC states, in Hz, whatever it is.
std::optional<double> stated_rate(const AudioInput& input);

// Of RIFF, RIFX, RF64 and AIFF, where the header promises more bytes of samples than follow: how many; else
// "". A length that a writer to a pipe could not fill in (within a block of the largest number) promises
// nothing.
std::string missing_samples(const AudioInput& input);

// Of RIFF, RIFX, RF64 and AIFF, where more follows the samples that the header promises and is neither
// another chunk, a tag nor zeros: a recorder was stopped. In bytes.
struct Unannounced {
    uint64_t promised = 0;
    int64_t there = 0;  // with those
};
std::optional<Unannounced> unannounced_samples(const AudioInput& input);

// Of a WAV whose samples are coded in blocks (ADPCM, GSM): how many of `frames` the header (its chunk 'fact')
// says, where those behind them fill up the last blocks.
std::optional<int64_t> padded_samples(const AudioInput& input, int64_t frames);

}  // namespace adder
