// What is put beside generated clips: a page to hear and compare them, and pictures.
#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "apps/clip_output.h"

namespace adder {

struct ListeningPage {
    std::string title;
    std::vector<std::pair<std::string, std::string>> settings;  // of all clips
    int64_t rate_hz = 0, n_records = 0;
    int64_t n_samples = 0;                                // of every record
    std::function<std::string(int64_t record)> label_of;  // what is heard in it: its class
};

// listen.html in the folder of `output`, whose files are finished. Of many or long clips their beginnings.
void add_listening_page(ClipOutput& output, const ListeningPage& page);

// A PNG beside each file.
void add_spectrograms(ClipOutput& output, int64_t n_records, int64_t n_samples);

}  // namespace adder
