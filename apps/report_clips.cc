#include "apps/report_clips.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>

#include "apps/clip_player.h"
#include "apps/html.h"
#include "core/error.h"
#include "datasets/audio_signal.h"

namespace adder {

namespace {

namespace fs = std::filesystem;

// Of each entry, of all its folders together: room for several on a page.
constexpr size_t kShownClips = 6;
constexpr int64_t kShownSeconds = 4;
// Real speech needs hours on a GPU; what less than this gives, nobody should take for a defect.
constexpr double kBabbleSeconds = 1800;

std::string link_to(const std::string& path, const std::string& folder) {
    std::error_code error;
    const fs::path relative =
        fs::relative(fs::absolute(path), fs::absolute(folder.empty() ? "." : folder), error);
    std::string link;
    for (const char c : (error || relative.empty() ? fs::path(path) : relative).string()) {
        const bool plain = std::isalnum(static_cast<unsigned char>(c)) ||
                           std::string_view("/-._~").find(c) != std::string_view::npos;
        link += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return link;
}

std::string player(const std::string& path, const std::string& id) {
    const AudioInput input(path);
    AudioReader reader(input);
    const int64_t rate_hz = reader.info().rate_hz;
    const int64_t most = kShownSeconds * rate_hz;
    std::vector<float> samples;
    read_mono(reader, most, [&](std::span<const float> block) {
        samples.insert(samples.end(), block.begin(), block.end());
    });
    if (samples.empty()) fail("{}: has no samples", path);
    std::string html =
        fmt::format("<figure class=\"clip\"><figcaption>{}{}</figcaption>\n",
                    html_text(fs::path(path).filename().string()),
                    std::ssize(samples) == most ? fmt::format(", its first {} s", kShownSeconds) : "");
    return html + clip_player(id, playable(samples, rate_hz), samples, rate_hz) + "</figure>\n";
}

// `most`: clips that are shown; `id` begins the names of players.
std::string folder_part(const ClipFolder& f, size_t most, const std::string& id, const std::string& folder) {
    std::string html;
    if (!f.page.empty())
        html += fmt::format(
            "<p><a href=\"{}\">Listen to all clips of {}</a>: players, waveforms, spectrograms, blind "
            "comparison.</p>\n",
            html_text(link_to(f.page, folder)), html_text(fs::path(f.page).parent_path().filename().string()));
    html += "<div class=\"clips\">\n";
    for (size_t i = 0; i < std::min(f.clips.size(), most); ++i) {
        try {
            html += player(f.clips[i], fmt::format("{}-{}", id, i));
        } catch (const Error& error) {
            html += fmt::format("<p class=\"problem\">{}</p>\n", html_text(error.what()));
        }
    }
    html += "</div>\n";
    if (f.clips.size() > most)
        html += fmt::format("<p class=\"soft\">The first {} of {} clips.</p>\n", most, f.clips.size());
    return html;
}

std::string entry_part(const ReportEntry& e, size_t number, const std::string& folder) {
    std::string html = fmt::format("<h3>{}</h3>\n", html_text(e.name));
    const double seconds = e.steps.seconds.empty() ? NAN : e.steps.seconds.back();
    if (seconds < kBabbleSeconds)
        html +=
            fmt::format("<p>After {} of training this is babble: the sound of a voice, and no words.</p>\n",
                        duration_text(seconds));
    const size_t most = std::max<size_t>(1, kShownClips / e.clips.size());
    for (size_t i = 0; i < e.clips.size(); ++i)
        html += folder_part(e.clips[i], most, fmt::format("clip-{}-{}", number, i), folder);
    return html;
}

}  // namespace

std::string clip_section(std::span<const ReportEntry> entries, const std::string& folder) {
    std::string html;
    for (size_t i = 0; i < entries.size(); ++i)
        if (!entries[i].clips.empty()) html += entry_part(entries[i], i, folder);
    return html.empty() ? html : "<section>\n<h2>Generated audio</h2>\n" + html + "</section>\n";
}

}  // namespace adder
