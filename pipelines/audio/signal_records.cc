#include "pipelines/audio/signal_records.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "core/error.h"
#include "datasets/audio_signal.h"
#include "pipelines/audio/codec.h"
#include "pipelines/symbol_buffer.h"

namespace adder::audio {

namespace {

constexpr double kRmsLevel = 0.1;  // -20 dB of full scale leaves room for the peaks of speech

ChannelPolicy policy_of(const std::string& channels) {
    if (channels == "first") return ChannelPolicy::first;
    if (channels == "each") return ChannelPolicy::each;
    CHECK(channels == "mix");
    return ChannelPolicy::mix;
}

// 10 ms of a signal.
struct Frame {
    float low = 0, high = 0;
    double power = 0;  // sum of squares
    int64_t n = 0;
    double mean_power() const { return n > 0 ? power / static_cast<double>(n) : 0; }
};

// What has to be known of a signal before its first sample can be encoded.
class Analysis {
  public:
    explicit Analysis(int64_t rate_hz) : frame_samples_(std::max<int64_t>(1, rate_hz / 100)) {}

    void add(std::span<const float> samples) {
        for (const float x : samples) {
            if (frames_.empty() || frames_.back().n == frame_samples_) frames_.push_back({x, x});
            Frame& f = frames_.back();
            f.low = std::min(f.low, x);
            f.high = std::max(f.high, x);
            f.power += static_cast<double>(x) * static_cast<double>(x);
            ++f.n;
        }
    }

    // Leaves out frames at both ends that are `decibels` below the loudest one. A silent signal stays.
    void trim(double decibels) {
        double loudest = 0;
        for (const Frame& f : frames_) loudest = std::max(loudest, f.mean_power());
        if (loudest == 0) return;
        const double floor = loudest * std::pow(10, -decibels / 10);
        const auto loud = [&](const Frame& f) { return f.mean_power() >= floor; };
        const auto first = std::find_if(frames_.begin(), frames_.end(), loud);
        const auto last = std::find_if(frames_.rbegin(), frames_.rend(), loud).base();
        begin_ = (first - frames_.begin()) * frame_samples_;
        frames_.erase(last, frames_.end());
        frames_.erase(frames_.begin(), first);
    }

    // The part that is left, in samples.
    int64_t begin() const { return begin_; }
    int64_t size() const {
        return frames_.empty() ? 0
                               : static_cast<int64_t>(frames_.size() - 1) * frame_samples_ + frames_.back().n;
    }
    // Over that part.
    Frame total() const {
        Frame t = frames_.empty() ? Frame{} : frames_.front();
        for (size_t i = 1; i < frames_.size(); ++i) {
            t.low = std::min(t.low, frames_[i].low);
            t.high = std::max(t.high, frames_[i].high);
            t.power += frames_[i].power;
            t.n += frames_[i].n;
        }
        return t;
    }

  private:
    int64_t frame_samples_;
    std::vector<Frame> frames_;
    int64_t begin_ = 0;
};

// y = (x - offset) * gain, of the samples [begin, end).
struct Treatment {
    int64_t begin = 0, end = INT64_MAX;
    double offset = 0, gain = 1;
};

Treatment treatment_of(Analysis& a, const AudioOptions& o) {
    if (*o.trim > 0) a.trim(*o.trim);
    const Frame t = a.total();
    Treatment out{.begin = a.begin(), .end = a.begin() + a.size(), .gain = *o.scale};
    if (o.level == "peak") {
        const double peak =
            std::max(std::abs(static_cast<double>(t.low)), std::abs(static_cast<double>(t.high)));
        if (peak > 0) out.gain /= peak;
    } else if (o.level == "rms") {
        if (t.power > 0) out.gain *= kRmsLevel / std::sqrt(t.mean_power());
    } else if (o.level == "clip-minmax") {
        const double low = static_cast<double>(t.low), high = static_cast<double>(t.high);
        out.offset = (low + high) / 2;
        // A constant is silence.
        if (high > low) out.gain *= 2 / (high - low);
    } else {
        CHECK(o.level == "none");
    }
    return out;
}

// Encodes one signal as it comes.
class Encoder {
  public:
    Encoder(Codec codec, const Treatment& treatment) : codec_(codec), t_(treatment) {}

    void add(std::span<const float> samples) {
        const int64_t begin = std::clamp<int64_t>(t_.begin - at_, 0, static_cast<int64_t>(samples.size()));
        const int64_t end = std::clamp<int64_t>(t_.end - at_, begin, static_cast<int64_t>(samples.size()));
        at_ += static_cast<int64_t>(samples.size());
        samples = samples.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
        if (t_.offset != 0 || t_.gain != 1) {
            treated_.clear();
            for (const float x : samples)
                treated_.push_back(static_cast<float>((static_cast<double>(x) - t_.offset) * t_.gain));
            samples = treated_;
        }
        silent_ = silent_ && std::all_of(samples.begin(), samples.end(), [](float x) { return x == 0; });
        // Blocks of which the buffer is made hold whole samples.
        constexpr size_t kBlock = 1 << 14;
        for (size_t done = 0; done < samples.size(); done += kBlock)
            clipped_ += encode(codec_, samples.subspan(done, std::min(kBlock, samples.size() - done)),
                               buffer_.room());
    }

    // `rate`: of the samples.
    void finish(TokenRecord record, const SignalRange& range, int64_t rate, std::vector<TokenRecord>& records,
                SignalCounts& counts) {
        record.symbols = buffer_.take();
        const int64_t n = static_cast<int64_t>(record.symbols.size()) / symbols_per_sample(codec_);
        const auto seconds = [rate](int64_t samples) {
            return static_cast<double>(samples) / static_cast<double>(rate);
        };
        record.origin.begin = range.start_s.value_or(0) + seconds(t_.begin);
        record.origin.end = range.end_s && n == at_ ? *range.end_s : record.origin.begin + seconds(n);
        ++counts.records;
        counts.samples += n;
        counts.trimmed += at_ - n;
        counts.clipped += clipped_;
        counts.clipped_records += clipped_ > 0;
        counts.silent += silent_;
        records.push_back(std::move(record));
    }

  private:
    Codec codec_;
    Treatment t_;
    SymbolBuffer buffer_;
    std::vector<float> treated_;
    int64_t at_ = 0, clipped_ = 0;
    bool silent_ = true;
};

}  // namespace

SignalCounts& SignalCounts::operator+=(const SignalCounts& added) {
    files += added.files;
    records += added.records;
    samples += added.samples;
    resampled += added.resampled;
    clipped += added.clipped;
    clipped_records += added.clipped_records;
    trimmed += added.trimmed;
    silent += added.silent;
    return *this;
}

void append_records(const AudioItem& item, const AudioInput& input, const AudioOptions& o,
                    std::vector<TokenRecord>& records, SignalCounts& counts) {
    const std::string name =
        item.place.empty() ? input.name() : fmt::format("{} ({})", input.name(), item.place);
    const ChannelPolicy policy = policy_of(o.channels);
    const SignalRange range{item.start_s, item.end_s};
    const auto read = [&](AudioReader& reader, const OnSamples& on_samples) {
        return read_signal(reader, name, range, policy, *o.rate, on_samples);
    };
    auto reader = std::make_unique<AudioReader>(input);
    const auto lanes = static_cast<size_t>(policy == ChannelPolicy::each ? reader->info().channels : 1);
    SignalCounts own;
    own.files = 1;
    own.resampled = reader->info().rate_hz != *o.rate;

    std::vector<Treatment> treatments(lanes);
    if (o.level != "none" || *o.trim > 0) {
        std::vector<Analysis> analyses(lanes, Analysis(*o.rate));
        read(*reader,
             [&](int64_t lane, std::span<const float> s) { analyses[static_cast<size_t>(lane)].add(s); });
        for (size_t i = 0; i < lanes; ++i) treatments[i] = treatment_of(analyses[i], o);
        reader.reset();  // what is spooled has one reader at a time
        reader = std::make_unique<AudioReader>(input);
    } else {
        for (Treatment& t : treatments) t.gain = *o.scale;
    }
    std::vector<Encoder> encoders;
    for (const Treatment& t : treatments) encoders.emplace_back(codec_of(o.codec), t);
    read(*reader,
         [&](int64_t lane, std::span<const float> s) { encoders[static_cast<size_t>(lane)].add(s); });
    for (size_t i = 0; i < encoders.size(); ++i) {
        TokenRecord record{.name = item.name, .label = item.label, .group = item.group};
        if (policy == ChannelPolicy::each && lanes > 1) record.name += fmt::format("#{}", i + 1);
        encoders[i].finish(std::move(record), range, *o.rate, records, own);
    }
    counts += own;
}

}  // namespace adder::audio
