// One clip on a page: a player, its waveform and its spectrogram.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace adder {

// An audio file that browsers play: mono, 16 bits, FLAC (in Chromium from 56, Firefox from 51, Safari from
// 11); WAV where FLAC cannot have the rate.
struct PlayableClip {
    const char* type;  // "audio/flac", "audio/wav"
    std::vector<std::byte> bytes;
};
PlayableClip playable(std::span<const float> samples, int64_t rate_hz);

// <audio id=ID>, and below it the waveform as SVG and the spectrogram as a picture. `samples` is not empty;
// `player` holds them.
std::string clip_player(const std::string& id, const PlayableClip& player, std::span<const float> samples,
                        int64_t rate_hz);
extern const char* const kClipStyle;

}  // namespace adder
