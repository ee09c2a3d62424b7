// What the first bytes of an audio file say that libsndfile does not: other formats by name, files that were
// cut.
#pragma once
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

// Bytes of samples behind a header that says 0: a recorder was stopped. 0 of a file that holds no samples.
int64_t unannounced_bytes(const AudioInput& input);

}  // namespace adder
