// Whether a compressed stream is whole: its decoders pass over what is damaged and take a cut for the end.
#pragma once
#include <cstdint>
#include <optional>

#include "datasets/audio.h"
#include "datasets/audio_header.h"

namespace adder {

// What is wrong with a stream, and at which byte; none if nothing is.
using Damage = std::optional<Unreadable>;

// Of an Ogg file. Every page has its checksum, the pages of a stream are numbered without a gap, and each
// stream has its last page (RFC 3533, section 6). What follows the last page of all and is no page is not
// looked at.
Damage damage_of_ogg(const AudioInput& input);

// Of MPEG audio (ISO 11172-3, section 2.4.1): from the first frame on one follows another, up to tags at the
// end, and there are as many frames and bytes as a header of Xing or LAME promises. Within a frame only its
// header is looked at; without that promise a cut between two frames is the end. `decoded`: samples of a
// channel that the decoder will give; without that promise it is a guess from the bit rate, which is an error
// where it falls short.
Damage damage_of_mpeg(const AudioInput& input, int64_t decoded);

// Where a decoder came to its end: after how many samples of a channel, and bytes of the file.
struct DecoderEnd {
    int64_t samples = 0, bytes = 0;
};

// Of a FLAC file that goes on where its decoder ends (RFC 9639, section 9.1): behind the samples that its
// header promises or, without a promise, behind those of `end`, none = it is not there yet. Of the last 64 KiB
// a frame reaches beyond, or behind `end` are more bytes than tags have. Or of one whose decoder ends before
// what is promised: it was cut, or is damaged where its last frame is there.
Damage damage_of_flac(const AudioInput& input, std::optional<DecoderEnd> end);

}  // namespace adder
