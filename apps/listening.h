// What is put beside generated clips: a page to hear and compare them, and pictures.
#pragma once
#include <atomic>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "apps/clip_output.h"
#include "apps/listen_page.h"

namespace adder {

struct ListeningPage {
    std::string title;
    std::vector<std::pair<std::string, std::string>> settings;  // of all clips
    int64_t rate_hz = 0, n_records = 0;
    int64_t n_samples = 0;                                // of every record
    std::function<std::string(int64_t record)> label_of;  // what is heard in it: its class
    // To compare with, of groups of their own; the generated clips are then of `group`.
    std::vector<Clip> beside = {};
    std::string group = {};
};

// With this begins the comment in the file of a generated clip, whose title is its class.
inline constexpr const char* kGeneratedComment = "adder generate";

// listen.html in the folder of `output`, whose files are finished. Of many or long clips their beginnings,
// 2^22 samples or a second of each, which are held in memory.
void add_listening_page(ClipOutput& output, const ListeningPage& page);

// What clips are compared with.
struct BesideRequest {
    std::vector<std::string> inputs;  // as --input of audio, each a group of the name of its last part
    std::string pattern;              // as --pattern; may be empty
    std::vector<std::string> labels;  // only clips of these; none = all, whatever their label
    int64_t num = 0;                  // at most, of every label and input
    std::string out;                  // the folder that will be written: none of the recordings may lie there
};

struct BesideClips {
    std::vector<Clip> clips;
    std::vector<std::string> left_out;  // what of folders and lists cannot be read, and why
};

// Recordings, or clips that another model generated, to stand beside them on the page: mono, at their own
// rate, in the order of `labels`. What a clip is labelled with, a generated one says itself; of others it is
// what audio_inputs says. Errors: those of audio_inputs, those of AudioReader of a file that is named itself,
// an input of which nothing can be read, or without a clip of `labels`, or with one in `out`.
BesideClips clips_beside(const BesideRequest& request);

// A PNG beside each file. Throws Interrupted when `stop` is set.
void add_spectrograms(ClipOutput& output, int64_t n_records, int64_t n_samples, const std::atomic<bool>& stop);

}  // namespace adder
