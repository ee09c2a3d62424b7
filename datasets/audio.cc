#include "datasets/audio.h"

#include <sndfile.h>
#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "datasets/audio_header.h"
#include "datasets/audio_stream.h"

namespace adder {

namespace {

// The formats of which a cut can be told.
constexpr int kFormats[] = {SF_FORMAT_WAV,  SF_FORMAT_WAVEX, SF_FORMAT_RF64, SF_FORMAT_AIFF,
                            SF_FORMAT_FLAC, SF_FORMAT_OGG,   SF_FORMAT_MPEG};

struct CloseFile {
    void operator()(SNDFILE* file) const { sf_close(file); }
};
using File = std::unique_ptr<SNDFILE, CloseFile>;

// "WAV (Microsoft), Signed 16 bit PCM"
std::string format_name(int format) {
    SF_FORMAT_INFO major{}, minor{};
    major.format = format & SF_FORMAT_TYPEMASK;
    minor.format = format & SF_FORMAT_SUBMASK;
    sf_command(nullptr, SFC_GET_FORMAT_INFO, &major, sizeof major);
    sf_command(nullptr, SFC_GET_FORMAT_INFO, &minor, sizeof minor);
    return fmt::format("{}, {}", major.name ? major.name : "unknown", minor.name ? minor.name : "unknown");
}

// libsndfile's own words, which are a sentence, but for those that speak of its insides.
std::string reason_of(SNDFILE* file) {
    std::string text = sf_strerror(file);
    for (const auto& [theirs, ours] :
         {std::pair{"channel changed mid stream", "the number of channels changes"},
          {"SF_INFO struct incomplete", "the header has no rate or no channels"},
          {"Unspecified internal error", "a block that cannot be decoded"},
          {"unimplemented format", "samples of a width or coding that is not read"}})
        if (text.find(theirs) != text.npos) return ours;
    while (!text.empty() && (text.back() == '.' || text.back() == '\n' || text.back() == ' '))
        text.pop_back();
    return text;
}

}  // namespace

struct AudioReader::Impl {
    std::string name;
    int fd = -1;  // the file's
    File file = {};
    AudioInfo info = {};
    int format = 0;
    int64_t at = 0;  // frames read
    int64_t most_frames = INT64_MAX;  // what the decoder gives behind them is padding
    const AudioInput* input = nullptr;
    bool is_whole = false;  // nothing is wrong with a compressed stream
    std::vector<float> ignored = {};

    // Compressed lengths may be estimates, and some of these formats cannot be positioned exactly.
    bool exact() const {
        const int major = format & SF_FORMAT_TYPEMASK;
        return major != SF_FORMAT_OGG && major != SF_FORMAT_MPEG;
    }
    double seconds(int64_t frame) const {
        return static_cast<double>(frame) / static_cast<double>(info.rate_hz);
    }

    // Before its first sample, so that to ask for the header is cheap.
    void check_stream() {
        if (is_whole) return;
        const int major = format & SF_FORMAT_TYPEMASK;
        if (major == SF_FORMAT_OGG) refuse(damage_of_ogg(*input));
        if (major == SF_FORMAT_MPEG) refuse(damage_of_mpeg(*input, info.frames));
        if (major == SF_FORMAT_FLAC) refuse(damage_of_flac(*input, std::nullopt));
        is_whole = true;
    }
    void refuse(const Damage& damage) const {
        if (damage) fail("[audio] {}: {}; hint: {}", name, damage->what, damage->hint);
    }

    // Of frames that have just been read, or of their end.
    void check(int64_t wanted, int64_t got) {
        if (sf_error(file.get()) != SF_ERR_NO_ERROR)
            fail(
                "[audio] {}: frame {} ({:.3f} s): {}; hint: the file is damaged, decode it again from its "
                "source",
                name, at + got, seconds(at + got), reason_of(file.get()));
        // libsndfile takes a frame that it cannot decode for the end, too.
        if (got < wanted && (format & SF_FORMAT_TYPEMASK) == SF_FORMAT_FLAC)
            refuse(damage_of_flac(*input, DecoderEnd{at + got, ::lseek(fd, 0, SEEK_CUR)}));
        if (got < wanted && info.frames >= 0 && exact() && at + got < info.frames)
            fail("[audio] {}: ends after {} of {} frames; hint: the file was cut, copy it again", name,
                 at + got, info.frames);
    }
};

AudioReader::AudioReader(const AudioInput& input) : impl_(std::make_unique<Impl>()) {
    Impl& r = *impl_;
    r.name = input.name();
    r.input = &input;
    if (const auto found = unreadable_format(input))
        fail("[audio] {}: {}, which cannot be read; hint: {}", r.name, found->what, found->hint);
    const auto check_rate = [&](double hz) {
        if (hz < static_cast<double>(kLowestRateHz) || hz > static_cast<double>(kHighestRateHz))
            fail("[audio] {}: a sample rate of {} Hz, expected {} to {}; hint: the header is damaged", r.name,
                 hz, kLowestRateHz, kHighestRateHz);
    };
    if (const auto hz = stated_rate(input)) check_rate(*hz);
    SF_INFO info{};
    r.fd = input.open();
    r.file.reset(sf_open_fd(r.fd, SFM_READ, &info, SF_TRUE));
    if (!r.file) {
        if (input.peek(0, 4) == "OggS") r.refuse(damage_of_ogg(input));
        fail(
            "[audio] {}: {}; hint: WAV, FLAC, OGG, Opus, MP3 and AIFF are read, PCM of 8, 16, 24 or 32 bits "
            "or "
            "floating point; {}",
            r.name, reason_of(nullptr), kConvert);
    }
    const auto tag = [&](int which) {
        const char* text = sf_get_string(r.file.get(), which);
        return std::string(text ? text : "");
    };
    r.info = {info.samplerate,
              info.channels,
              info.frames,
              format_name(info.format),
              {tag(SF_STR_TITLE), tag(SF_STR_COMMENT)}};
    r.format = info.format;
    if (std::ranges::find(kFormats, info.format & SF_FORMAT_TYPEMASK) == std::end(kFormats))
        fail("[audio] {}: is {}, which is not read: nothing tells whether it was cut; hint: {}", r.name,
             r.info.format, kConvert);
    constexpr int64_t kUnknown = SF_COUNT_MAX;
    if (r.info.frames == kUnknown || r.info.frames < 0) r.info.frames = -1;
    check_rate(static_cast<double>(r.info.rate_hz));
    const std::string missing = missing_samples(input);
    if (!missing.empty()) fail("[audio] {}: {}; hint: the file was cut, copy it again", r.name, missing);
    if (const auto found = unannounced_samples(input))
        fail(
            "[audio] {}: the header says {} bytes of samples, {} follow; hint: the recorder was stopped; "
            "sox --ignore-length FILE NEW.wav",
            r.name, found->promised, found->there);
    if (const auto n = padded_samples(input, r.info.frames)) r.info.frames = r.most_frames = *n;
    if (r.info.frames == 0) fail("[audio] {}: holds no frames; hint: leave it out", r.name);
}

AudioReader::~AudioReader() = default;
AudioReader::AudioReader(AudioReader&&) noexcept = default;

const AudioInfo& AudioReader::info() const {
    return impl_->info;
}

int64_t AudioReader::read(std::span<float> samples) {
    Impl& r = *impl_;
    r.check_stream();
    const int64_t channels = r.info.channels, room = static_cast<int64_t>(samples.size()) / channels;
    CHECK(room * channels == static_cast<int64_t>(samples.size()));
    const int64_t wanted = std::min(room, r.most_frames - r.at);
    int64_t got = 0;
    // Decoders may give less at a time than is asked.
    while (got < wanted) {
        const int64_t n = sf_readf_float(r.file.get(), samples.data() + got * channels, wanted - got);
        if (n <= 0) break;
        got += n;
    }
    r.check(wanted, got);
    for (int64_t i = 0; i < got * channels; ++i)
        if (!std::isfinite(samples[static_cast<size_t>(i)])) {
            const int64_t frame = r.at + i / channels;
            fail(
                "[audio] {}: frame {} ({:.3f} s), channel {}: the sample is {}; hint: samples are finite "
                "numbers, full scale 1",
                r.name, frame, r.seconds(frame), i % channels + 1, samples[static_cast<size_t>(i)]);
        }
    r.at += got;
    return got;
}

int64_t AudioReader::skip(int64_t frames) {
    Impl& r = *impl_;
    if (r.exact() && r.info.frames >= 0) {
        const int64_t to = std::min(r.info.frames, r.at + frames), passed = to - r.at;
        if (sf_seek(r.file.get(), to, SEEK_SET) != to) r.check(1, 0);
        r.at = to;
        return passed;
    }
    r.ignored.resize(static_cast<size_t>(std::min<int64_t>(frames, 1 << 14) * r.info.channels));
    int64_t passed = 0;
    while (passed < frames) {
        const int64_t wanted = std::min<int64_t>(frames - passed, 1 << 14);
        const int64_t n = read(std::span(r.ignored).first(static_cast<size_t>(wanted * r.info.channels)));
        passed += n;
        if (n < wanted) break;
    }
    return passed;
}

namespace {

// A vector as a file that libsndfile writes.
struct Memory {
    std::vector<std::byte>* bytes = nullptr;
    sf_count_t at = 0;
    sf_count_t length() const { return static_cast<sf_count_t>(bytes->size()); }
};

Memory& memory_of(void* user) {
    return *static_cast<Memory*>(user);
}

sf_count_t memory_length(void* user) {
    return memory_of(user).length();
}

sf_count_t memory_seek(sf_count_t offset, int whence, void* user) {
    Memory& m = memory_of(user);
    m.at = offset + (whence == SEEK_SET ? 0 : whence == SEEK_CUR ? m.at : m.length());
    return m.at;
}

sf_count_t memory_read(void* data, sf_count_t count, void* user) {
    Memory& m = memory_of(user);
    const sf_count_t n = std::clamp<sf_count_t>(m.length() - m.at, 0, count);
    if (n > 0) std::memcpy(data, m.bytes->data() + m.at, static_cast<size_t>(n));
    m.at += n;
    return n;
}

sf_count_t memory_write(const void* data, sf_count_t count, void* user) {
    Memory& m = memory_of(user);
    if (m.at + count > m.length()) m.bytes->resize(static_cast<size_t>(m.at + count));
    std::memcpy(m.bytes->data() + m.at, data, static_cast<size_t>(count));
    m.at += count;
    return count;
}

sf_count_t memory_tell(void* user) {
    return memory_of(user).at;
}

}  // namespace

int16_t as_pcm16(float sample) {
    return static_cast<int16_t>(std::lrint(std::clamp(sample * 32768.0f, -32768.0f, 32767.0f)));
}

struct AudioWriter::Impl {
    std::string name;
    Memory memory = {};
    File file = {};
    std::vector<int16_t> block = {};
    AudioTags tags = {};
    bool tags_last = false;

    void open(AudioFileType type, int64_t rate_hz);
    void put_tags();
};

void AudioWriter::Impl::put_tags() {
    if (!tags.title.empty()) sf_set_string(file.get(), SF_STR_TITLE, tags.title.c_str());
    if (!tags.comment.empty()) sf_set_string(file.get(), SF_STR_COMMENT, tags.comment.c_str());
}

void AudioWriter::Impl::open(AudioFileType type, int64_t rate_hz) {
    SF_INFO info{};
    info.samplerate = static_cast<int>(rate_hz);
    info.channels = 1;
    info.format = (type == AudioFileType::wav ? SF_FORMAT_WAV : SF_FORMAT_FLAC) | SF_FORMAT_PCM_16;
    if (rate_hz < kLowestRateHz || rate_hz > kHighestRateHz || !sf_format_check(&info))
        fail("[audio] {}: {} cannot have a sample rate of {} Hz", name,
             type == AudioFileType::wav ? "WAV" : "FLAC", rate_hz);
    SF_VIRTUAL_IO io{memory_length, memory_seek, memory_read, memory_write, memory_tell};
    file.reset(memory.bytes ? sf_open_virtual(&io, SFM_WRITE, &info, &memory)
                            : sf_open(name.c_str(), SFM_WRITE, &info));
    if (!file) fail("[audio] {}: {}; hint: check the folder", name, reason_of(nullptr));
    tags_last = type == AudioFileType::wav;
    if (!tags_last) put_tags();
}

std::optional<AudioFileType> written_type(const std::string& path) {
    const std::string suffix = std::filesystem::path(path).extension().string();
    if (::strcasecmp(suffix.c_str(), ".wav") == 0) return AudioFileType::wav;
    if (::strcasecmp(suffix.c_str(), ".flac") == 0) return AudioFileType::flac;
    return std::nullopt;
}

bool flac_can_have(int64_t rate_hz) {
    // Only the encoder of the library that is there knows, and says so at the first sample.
    std::vector<std::byte> ignored;
    try {
        AudioWriter writer(ignored, AudioFileType::flac, rate_hz);
        writer.write(std::array{0.0f});
        writer.finish();
        return true;
    } catch (const Error&) {
        return false;
    }
}

AudioWriter::AudioWriter(const std::string& path, AudioFileType type, int64_t rate_hz, const AudioTags& tags)
    : impl_(std::make_unique<Impl>()) {
    impl_->name = path;
    impl_->tags = tags;
    impl_->open(type, rate_hz);
}

AudioWriter::AudioWriter(std::vector<std::byte>& to, AudioFileType type, int64_t rate_hz)
    : impl_(std::make_unique<Impl>()) {
    to.clear();
    impl_->name = "audio in memory";
    impl_->memory.bytes = &to;
    impl_->open(type, rate_hz);
}

AudioWriter::~AudioWriter() = default;

void AudioWriter::write(std::span<const float> samples) {
    std::vector<int16_t>& block = impl_->block;
    while (!samples.empty()) {
        const size_t n = std::min<size_t>(samples.size(), 1 << 16);
        block.resize(n);
        for (size_t i = 0; i < n; ++i) block[i] = as_pcm16(samples[i]);
        if (sf_writef_short(impl_->file.get(), block.data(), static_cast<sf_count_t>(n)) !=
            static_cast<sf_count_t>(n))
            fail("[audio] {}: {}; hint: make room there", impl_->name, reason_of(impl_->file.get()));
        samples = samples.subspan(n);
    }
}

void AudioWriter::finish() {
    CHECK(impl_->file);
    if (impl_->tags_last) impl_->put_tags();
    if (const int error = sf_close(impl_->file.release()); error != 0)
        fail("[audio] {}: {}; hint: make room there", impl_->name, sf_error_number(error));
}

}  // namespace adder
