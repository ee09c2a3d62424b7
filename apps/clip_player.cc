#include "apps/clip_player.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/html.h"
#include "apps/spectrogram.h"
#include "core/error.h"
#include "datasets/audio.h"

namespace adder {

const char* const kClipStyle = R"(
.clip{margin:0 0 1.2em}.clip audio{width:100%;height:2.4rem}.clip .wave{display:block;width:100%;height:64px;margin:.3em 0}
.clip .wave path{fill:none;stroke:var(--c0);stroke-width:1;vector-effect:non-scaling-stroke}
.clip img{display:block;width:100%;height:120px;image-rendering:auto;background:#000004}
.clip .end{display:flex;justify-content:space-between}
)";

namespace {

constexpr int64_t kWaveColumns = 240, kSpectrogramColumns = 320, kSpectrogramRows = 64,
                  kSpectrogramLevels = 16;

float level(float sample) {
    return std::isfinite(sample) ? std::clamp(sample, -1.0f, 1.0f) : 0;
}

float peak_of(std::span<const float> samples) {
    float peak = 0;
    for (const float x : samples) peak = std::max(peak, std::abs(level(x)));
    return peak;
}

// From the lowest to the highest sample of every column, upright strokes; `peak` is the whole height.
std::string waveform(std::span<const float> samples, float peak) {
    const auto n = static_cast<int64_t>(samples.size()), columns = std::min(n, kWaveColumns);
    const float scale = peak > 0 ? 31 / peak : 0;
    std::string path;
    for (int64_t c = 0; c < columns; ++c) {
        float low = 1, high = -1;
        for (int64_t i = c * n / columns; i < (c + 1) * n / columns; ++i) {
            const float x = level(samples[static_cast<size_t>(i)]);
            low = std::min(low, x), high = std::max(high, x);
        }
        // A stroke of no length would not be seen.
        path += fmt::format("M{} {:.1f}V{:.1f}", c, 32 - scale * high,
                            std::max(32 - scale * low, 32.6f - scale * high));
    }
    return fmt::format(
        "<svg class=\"wave\" role=\"img\" aria-label=\"waveform\" viewBox=\"-1 0 {} 64\" "
        "preserveAspectRatio=\"none\"><path d=\"{}\"/></svg>\n",
        columns + 1, path);
}

}  // namespace

PlayableClip playable(std::span<const float> samples, int64_t rate_hz) {
    std::vector<std::byte> file;
    const bool flac = flac_can_have(rate_hz);
    AudioWriter writer(file, flac ? AudioFileType::flac : AudioFileType::wav, rate_hz);
    std::vector<float> finite(samples.begin(), samples.end());
    for (float& x : finite) x = std::isfinite(x) ? x : 0;
    writer.write(finite);
    writer.finish();
    return {flac ? "audio/flac" : "audio/wav", std::move(file)};
}

std::string clip_player(const std::string& id, const PlayableClip& player, std::span<const float> samples,
                        int64_t rate_hz) {
    CHECK(!samples.empty());
    const auto n = static_cast<int64_t>(samples.size());
    const float peak = peak_of(samples);
    Spectrogram spectrogram(n, kSpectrogramColumns, kSpectrogramRows);
    spectrogram.add(samples);
    std::string html = fmt::format("<audio id=\"{}\" controls preload=\"none\" src=\"{}\"></audio>\n", id,
                                   data_uri(player.type, player.bytes));
    html += waveform(samples, peak);
    html += fmt::format("<img alt=\"spectrogram\" src=\"{}\">\n",
                        data_uri("image/png", spectrogram.png_file(kSpectrogramLevels)));
    return html + fmt::format(
                      "<div class=\"soft end\"><span>0 s</span><span>0 to {} Hz, 80 dB; peak "
                      "{:.2g}</span><span>{:.2f} "
                      "s</span></div>\n",
                      rounded(static_cast<double>(rate_hz) / 2, 7), peak,
                      static_cast<double>(n) / static_cast<double>(rate_hz));
}

}  // namespace adder
