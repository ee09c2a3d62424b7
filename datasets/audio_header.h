// What the first bytes of an audio file say that libsndfile does not: other formats by name, files that were
// cut.
#pragma once
#include <string>

#include "datasets/audio.h"

namespace adder {

// "is an MP4 file", ...: a common format that is no audio, or that libsndfile does not read or reads wrongly;
// "" for all else.
std::string unreadable_format(const AudioInput& input);

// Of RIFF, RIFX, RF64 and AIFF, where the header promises more bytes of samples than follow: how many; else
// "". A length that a writer to a pipe could not fill in (0, or within a block of the largest number)
// promises nothing.
std::string missing_samples(const AudioInput& input);

}  // namespace adder
