// A part of an audio file as one signal, or one a channel, at the rate that is asked for; streamed.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "datasets/audio.h"

namespace adder {

enum class ChannelPolicy { first, mix, each };  // mix: the mean of all

struct SignalRange {
    std::optional<double> start_s = {},
                          end_s = {};  // from the frame at or before the start to the one before the end
};

// Called with the next samples of signal `lane` (a channel with `each`, else 0).
using OnSamples = std::function<void(int64_t lane, std::span<const float> samples)>;

struct SignalLength {
    int64_t lanes = 1;
    int64_t frames = 0;   // of the file, in the range
    int64_t samples = 0;  // of each lane: resampled_length(frames, the file's rate, rate_hz)
};

// Decodes, picks or mixes channels, resamples. Memory does not grow with the length. Errors: those of
// AudioReader; a range that begins at or after the end of the file, or ends more than 10 ms after it.
SignalLength read_signal(AudioReader& reader, const std::string& name, const SignalRange& range,
                         ChannelPolicy channels, int64_t rate_hz, const OnSamples& on_samples);

// The mean of the channels of the next frames, at most `most`, at the file's own rate, in blocks. Returns how
// many; fewer only at the end. Errors: those of AudioReader.
int64_t read_mono(AudioReader& reader, int64_t most,
                  const std::function<void(std::span<const float> samples)>& on_samples);

}  // namespace adder
