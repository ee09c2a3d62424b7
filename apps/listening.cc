#include "apps/listening.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "apps/output_file.h"
#include "apps/spectrogram.h"
#include "core/error.h"
#include "core/interrupted.h"
#include "datasets/audio_inputs.h"
#include "datasets/audio_signal.h"

namespace adder {

namespace {

namespace fs = std::filesystem;

// Of all clips of a group together: as much as a page has room for, unless they are all but silent.
constexpr int64_t kMostPageSamples = int64_t{1} << 22;

// Of each of `n_clips`.
int64_t most_samples(int64_t rate_hz, int64_t n_clips) {
    const auto longest = static_cast<int64_t>(kMostClipSeconds * static_cast<double>(rate_hz));
    return std::min(longest, std::max<int64_t>(rate_hz, kMostPageSamples / std::max<int64_t>(1, n_clips)));
}

// The beginning of a file as one of `n_clips`.
Clip read_clip(AudioReader& reader, const std::string& name, int64_t n_clips) {
    const AudioInfo& info = reader.info();
    Clip clip{.name = name, .samples = {}, .rate_hz = info.rate_hz};
    if (info.frames > 0) clip.whole_s = static_cast<double>(info.frames) / static_cast<double>(info.rate_hz);
    read_mono(reader, most_samples(info.rate_hz, n_clips), [&](std::span<const float> samples) {
        clip.samples.insert(clip.samples.end(), samples.begin(), samples.end());
    });
    return clip;
}

// The last part of a path, also of one that ends in '/'.
std::string last_part(const std::string& path) {
    const fs::path p = fs::path(path).lexically_normal();
    return (p.has_filename() ? p : p.parent_path()).filename().string();
}

// Appends the clips of one input, by the place of their label in request.labels; `most` in all.
void add_clips_of(const std::string& input, const BesideRequest& request, const FilePattern* pattern, int64_t most,
                  BesideClips& to) {
    std::map<int64_t, std::vector<Clip>> of_label;
    std::set<std::string> labels;
    const auto same_name = [&](const std::string& other) { return last_part(other) == last_part(input); };
    const std::string group =
        std::count_if(request.inputs.begin(), request.inputs.end(), same_name) > 1 ? input : last_part(input);
    const AudioListing listing = audio_inputs(std::array{input}, generated_clips(input) ? nullptr : pattern);
    std::vector<std::string> left_out = listing.unreadable;
    const auto take = [&](const AudioItem& item) {
        const AudioInput file(item.path);
        AudioReader reader(file);
        std::string label;
        const AudioTags& tags = reader.info().tags;
        if (!request.labels.empty())
            labels.insert(label = tags.comment.starts_with(kGeneratedComment) ? tags.title : item.label);
        const auto at =
            std::find(request.labels.begin(), request.labels.end(), label) - request.labels.begin();
        if (!request.labels.empty() && at == std::ssize(request.labels)) return;
        if (of_label.contains(at) && std::ssize(of_label[at]) == request.num) return;
        Clip clip = read_clip(reader, item.name, most);
        clip.label = label;
        clip.group = group;
        of_label[at].push_back(std::move(clip));
    };
    for (const AudioItem& item : listing.items) {
        if (item.store || item.start_s || item.end_s)
            fail("--beside {}: {} is no whole audio file; hint: name files or folders", input, item.name);
        if (lies_in(item.path, request.out))
            fail("{}: --overwrite of --out would remove what --beside {} stands for; hint: another --out", item.path, input);
        try {
            take(item);
        } catch (const Error& e) {
            if (item.named) throw;
            left_out.push_back(e.what());
        }
    }
    if (of_label.empty() && labels.empty() && !left_out.empty())
        fail("--beside {}: no clip can be read: {} failed, the first: {}", input, left_out.size(), left_out[0]);
    if (of_label.empty())
        fail("--beside {}: no clip is labelled {}, only '{}'; hint: --pattern says where labels stand", input,
             fmt::join(request.labels, ", "), fmt::join(labels, "', '"));
    int64_t n = 0;
    for (auto& [label, clips] : of_label)
        for (Clip& clip : clips)
            if (n++ < most) to.clips.push_back(std::move(clip));
    std::ranges::move(left_out, std::back_inserter(to.left_out));
}

}  // namespace

void add_listening_page(ClipOutput& output, const ListeningPage& page) {
    ListenPage listen{.title = page.title, .settings = page.settings, .clips = {}};
    listen.n_clips = page.n_records + std::ssize(page.beside);
    listen.n_files = page.n_records;
    const int64_t heard = std::min(page.n_records, kMostClips - std::ssize(page.beside));
    for (int64_t k = 0; k < heard; ++k) {
        const AudioInput input(output.path_of(k));
        AudioReader reader(input);
        Clip clip = read_clip(reader, output.name_of(k), heard);
        clip.label = page.label_of(k);
        clip.group = page.group;
        listen.clips.push_back(std::move(clip));
    }
    listen.clips.insert(listen.clips.end(), page.beside.begin(), page.beside.end());
    output.add_page(listen_page(listen));
}

BesideClips clips_beside(const BesideRequest& request) {
    std::optional<FilePattern> pattern;
    if (!request.pattern.empty()) pattern.emplace(request.pattern);
    // Half of the page is for what is generated.
    const int64_t most =
        std::max<int64_t>(1, kMostClips / 2 / std::max<int64_t>(1, std::ssize(request.inputs)));
    BesideClips all;
    for (const std::string& input : request.inputs)
        add_clips_of(input, request, pattern ? &*pattern : nullptr, most, all);
    return all;
}

void add_spectrograms(ClipOutput& output, int64_t n_records, int64_t n_samples, const std::atomic<bool>& stop) {
    constexpr int64_t kWidth = 1024, kHeight = Spectrogram::kBins;
    for (int64_t k = 0; k < n_records; ++k) {
        if (stop) throw Interrupted{};
        Spectrogram spectrogram(n_samples, kWidth, kHeight);
        const AudioInput input(output.path_of(k));
        AudioReader reader(input);
        read_mono(reader, n_samples, [&](std::span<const float> samples) { spectrogram.add(samples); });
        output.add_beside(k, ".png", spectrogram.png_file());
    }
}

}  // namespace adder
