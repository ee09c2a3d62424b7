#include "datasets/audio_signal.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "datasets/resample.h"

namespace adder {

namespace {

constexpr int64_t kBlockSamples = 1 << 16;  // of all channels together
constexpr int64_t kForever = INT64_MAX;

// Frames [begin, end) that a range stands for.
struct FrameRange {
    int64_t begin = 0, end = kForever;
};

FrameRange frames_of(const SignalRange& range, int64_t rate_hz) {
    // Times are written in decimals: what is a frame but for rounding counts as that frame.
    constexpr double kRounding = 1e-6;
    constexpr double kMost = 1e18;
    const auto rate = static_cast<double>(rate_hz);
    FrameRange r;
    if (range.start_s)
        r.begin = static_cast<int64_t>(std::min(std::floor(*range.start_s * rate + kRounding), kMost));
    if (range.end_s)
        r.end = static_cast<int64_t>(std::min(std::ceil(*range.end_s * rate - kRounding), kMost));
    r.end = std::max(r.end, r.begin + 1);
    return r;
}

// One lane out of interleaved frames.
void pick(std::span<const float> frames, int64_t channels, ChannelPolicy policy, int64_t lane,
          std::vector<float>& out) {
    const auto step = static_cast<size_t>(channels);
    out.resize(frames.size() / step);
    const auto scale = 1.0f / static_cast<float>(channels);
    for (size_t i = 0; i < out.size(); ++i) {
        const float* frame = frames.data() + i * step;
        if (policy != ChannelPolicy::mix) {
            out[i] = frame[lane];
            continue;
        }
        float sum = 0;
        for (size_t c = 0; c < step; ++c) sum += frame[c];
        out[i] = channels == 1 ? sum : sum * scale;
    }
}

// The next frames, interleaved, at most `most`, block by block. Returns how many; fewer only at the end.
template <class OnBlock>
int64_t read_blocks(AudioReader& reader, int64_t most, OnBlock on_block) {
    const int64_t channels = reader.info().channels;
    const int64_t block_frames = std::max<int64_t>(1, kBlockSamples / channels);
    std::vector<float> block(static_cast<size_t>(std::min(block_frames, most) * channels));
    int64_t done = 0;
    while (done < most) {
        const int64_t wanted = std::min(block_frames, most - done);
        const int64_t got = reader.read(std::span(block).first(static_cast<size_t>(wanted * channels)));
        if (got > 0) on_block(std::span<const float>(block).first(static_cast<size_t>(got * channels)));
        done += got;
        if (got < wanted) break;
    }
    return done;
}

}  // namespace

int64_t read_mono(AudioReader& reader, int64_t most,
                  const std::function<void(std::span<const float>)>& on_samples) {
    std::vector<float> mono;
    return read_blocks(reader, most, [&](std::span<const float> block) {
        pick(block, reader.info().channels, ChannelPolicy::mix, 0, mono);
        on_samples(mono);
    });
}

SignalLength read_signal(AudioReader& reader, const std::string& name, const SignalRange& range,
                         ChannelPolicy policy, int64_t rate_hz, const OnSamples& on_samples) {
    const AudioInfo& info = reader.info();
    const FrameRange frames = frames_of(range, info.rate_hz);
    SignalLength length{policy == ChannelPolicy::each ? info.channels : 1};
    const auto seconds = [&](int64_t n) {
        return static_cast<double>(n) / static_cast<double>(info.rate_hz);
    };
    if (const int64_t passed = frames.begin > 0 ? reader.skip(frames.begin) : 0; passed < frames.begin)
        fail("[audio] {}: the part begins at {:.3f} s, the file ends at {:.3f} s; hint: check start and end",
             name, seconds(frames.begin), seconds(passed));

    std::vector<Resampler> resamplers;
    for (int64_t i = 0; i < length.lanes; ++i) resamplers.emplace_back(info.rate_hz, rate_hz);
    std::vector<float> lane, out;
    const auto give = [&](int64_t i) {
        if (!out.empty()) on_samples(i, out);
        out.clear();
    };
    length.frames = read_blocks(reader, frames.end - frames.begin, [&](std::span<const float> block) {
        for (int64_t i = 0; i < length.lanes; ++i) {
            pick(block, info.channels, policy, i, lane);
            resamplers[static_cast<size_t>(i)].process(lane, out);
            give(i);
        }
    });
    for (int64_t i = 0; i < length.lanes; ++i) {
        resamplers[static_cast<size_t>(i)].finish(out);
        give(i);
    }
    const int64_t end = frames.begin + length.frames;
    if (length.frames == 0)
        fail("[audio] {}: the part begins at {:.3f} s, the file ends there; hint: check start and end", name,
             seconds(end));
    if (frames.end != kForever && frames.end - end > info.rate_hz / 100)
        fail("[audio] {}: the part ends at {:.3f} s, the file at {:.3f} s; hint: check start and end", name,
             seconds(frames.end), seconds(end));
    length.samples = resampled_length(length.frames, info.rate_hz, rate_hz);
    return length;
}

}  // namespace adder
