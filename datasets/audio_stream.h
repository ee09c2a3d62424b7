// Whether a compressed stream is whole: its decoders pass over what is damaged and take a cut for the end.
#pragma once
#include <string>

#include "datasets/audio.h"

namespace adder {

// Of an Ogg file: what is wrong with it, and at which byte; "" if nothing is. Every page has its checksum,
// the pages of a stream are numbered without a gap, and each stream has its last page (RFC 3533, section 6).
// What follows the last page of all and is no page is not looked at.
std::string damage_of_ogg(const AudioInput& input);

// Of MPEG audio (ISO 11172-3, section 2.4.1): from the first frame on one follows another, up to tags at the
// end, and there are as many frames and bytes as a header of Xing or LAME promises. Within a frame only its
// header is looked at; without that promise a cut between two frames is the end.
std::string damage_of_mpeg(const AudioInput& input);

}  // namespace adder
