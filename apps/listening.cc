#include "apps/listening.h"

#include <algorithm>

#include "apps/listen_page.h"
#include "apps/spectrogram.h"

namespace adder {

namespace {

constexpr int64_t kMostPageSamples = int64_t{1}
                                     << 24;  // of all clips together: far more than a page has room for

// The samples of a file that was written, at most `count`, block by block.
template <class OnBlock>
void read_back(const std::string& path, int64_t count, OnBlock on_block) {
    const AudioInput input(path);
    AudioReader reader(input);
    std::vector<float> block(1 << 16);
    while (count > 0) {
        const std::span<float> room(block.data(), static_cast<size_t>(std::min(count, std::ssize(block))));
        const int64_t n = reader.read(room);
        if (n == 0) return;
        on_block(std::span<const float>(room.first(static_cast<size_t>(n))));
        count -= n;
    }
}

}  // namespace

void add_listening_page(ClipOutput& output, const ListeningPage& page) {
    ListenPage listen{.title = page.title, .settings = page.settings, .clips = {}};
    // The page says what it leaves out; it needs to know how many clips there are, not what they hold.
    const int64_t heard = std::min(page.n_records, kMostClips);
    const auto longest = static_cast<int64_t>(kMostClipSeconds * static_cast<double>(page.rate_hz));
    const int64_t most = std::min(longest, std::max<int64_t>(page.rate_hz, kMostPageSamples / heard));
    for (int64_t k = 0; k < page.n_records; ++k) {
        Clip clip{.name = output.name_of(k), .samples = {}, .rate_hz = page.rate_hz};
        clip.label = page.label_of(k);
        clip.whole_s = static_cast<double>(page.n_samples) / static_cast<double>(page.rate_hz);
        read_back(output.path_of(k), k < heard ? most : 1, [&](std::span<const float> samples) {
            clip.samples.insert(clip.samples.end(), samples.begin(), samples.end());
        });
        listen.clips.push_back(std::move(clip));
    }
    output.add_page("listen.html", listen_page(listen));
}

void add_spectrograms(ClipOutput& output, int64_t n_records, int64_t n_samples) {
    constexpr int64_t kWidth = 1024, kHeight = Spectrogram::kBins;
    for (int64_t k = 0; k < n_records; ++k) {
        Spectrogram spectrogram(n_samples, kWidth, kHeight);
        read_back(output.path_of(k), n_samples,
                  [&](std::span<const float> samples) { spectrogram.add(samples); });
        output.add_beside(k, ".png", spectrogram.png_file());
    }
}

}  // namespace adder
