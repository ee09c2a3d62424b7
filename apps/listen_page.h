// listen.html: clips to be heard, seen and compared blindly, on one page that needs no network.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/report_page.h"

namespace adder {

struct Clip {
    std::string name;            // of its file
    std::vector<float> samples;  // mono, full scale 1; of a long clip the first kMostClipSeconds are enough
    int64_t rate_hz = 0;
    double whole_s = 0;      // the length of the clip where `samples` is only its beginning
    std::string group = {};  // what it is from: a model, or "recorded". Blind comparison is between groups,
                             // if there are several
    std::string label = {};  // what is heard: only clips of one label are compared with each other
    std::string settings = {};  // one line
};
inline constexpr double kMostClipSeconds = 180;
inline constexpr int64_t kMostClips = 150;

struct ListenPage {
    std::string title;
    std::vector<std::pair<std::string, std::string>> settings;  // of all clips: name and value
    std::vector<Clip> clips;
    int64_t n_clips = 0;  // where there are more than `clips` holds, so that the page can say so
    int64_t n_files = 0;  // clips in the folder that the page is written to, numbered from 0
};

// The whole document, of at most kMostPageBytes: players, waveforms, spectrograms, settings, and a blind
// comparison of pairs whose result can be saved as text. Clips that do not fit are cut to their beginning,
// all to the same length, and clips after the first kMostClips are left out; the page says both. Errors: a
// clip without samples, or with a rate that no file can have.
std::string listen_page(const ListenPage& page);

// Its name beside clips.
inline constexpr const char* kListenPage = "listen.html";
// How many numbered clips are in a folder, by the page that `listen_page` made for it; none without such a
// page.
std::optional<int64_t> generated_clips(const std::string& folder);

}  // namespace adder
