// One audio file, or a part of it, to records.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "datasets/audio.h"
#include "datasets/audio_inputs.h"
#include "pipelines/audio/options.h"
#include "pipelines/records.h"

namespace adder::audio {

// What happened to samples on the way, all at the model's rate but for the frames.
struct SignalCounts {
    int64_t files = 0, records = 0, samples = 0;
    int64_t resampled = 0;                     // files
    int64_t clipped = 0, clipped_records = 0;  // samples beyond full scale, and the records they are in
    int64_t trimmed = 0;                       // samples
    int64_t silent = 0;                        // records in which every sample is 0
    SignalCounts& operator+=(const SignalCounts& added);
};

// Appends the records of an item: one, or with --channels each one a channel, called "name#1", "name#2", ...
// The file is decoded in blocks, twice where --level or --trim need to know all of it first; memory beside
// the symbols is a hundred numbers a second at most. `options` are resolved, with a rate. Errors: those of
// AudioReader and read_signal; then nothing is appended.
void append_records(const AudioItem& item, const AudioInput& input, const AudioOptions& options,
                    std::vector<TokenRecord>& records, SignalCounts& counts);

}  // namespace adder::audio
