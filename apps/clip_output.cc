#include "apps/clip_output.h"

#include <fmt/format.h>
#include <strings.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "apps/listen_page.h"
#include "core/error.h"
#include "datasets/audio_inputs.h"

namespace adder {

namespace {

namespace fs = std::filesystem;

void write_to_stdout(std::span<const int16_t> samples) {
    static_assert(std::endian::native == std::endian::little);
    const char* data = reinterpret_cast<const char*>(samples.data());
    for (size_t left = samples.size_bytes(); left > 0;) {
        const ssize_t n = ::write(STDOUT_FILENO, data, left);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail("standard output: {}", std::strerror(errno));
        data += n;
        left -= static_cast<size_t>(n);
    }
}

// What a name says is no folder, and yet nothing that is written here. A folder can be called so with '/' at the end.
void refuse_other_audio(const std::string& out) {
    const std::string suffix = fs::path(out).extension().string();
    bool is_other = has_audio_suffix(out);
    for (const char* other : {".m4a", ".mp4", ".aac", ".wma", ".webm", ".raw", ".pcm"})
        is_other = is_other || ::strcasecmp(suffix.c_str(), other) == 0;
    if (is_other)
        throw UsageError(
            fmt::format("--out {}: {} is not written; hint: a name that ends in .wav or .flac, or a folder", out, suffix));
}

// listen.html, and 0000.wav, 0000.png and so on of the clips that it says are its own.
bool is_generated(const std::string& name, int64_t n_clips) {
    if (name == kListenPage) return true;
    int64_t k = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), k);
    return error == std::errc() && k >= 0 && k < n_clips &&
           (name == fmt::format("{:04}.wav", k) || name == fmt::format("{:04}.png", k));
}

// --overwrite takes the place of a folder of clips, not of whatever folder it is pointed at: recordings have
// names such as 0001.wav too, so the page beside the clips has to say that they were generated.
void check_replaceable(const std::string& folder) {
    std::error_code ignored;
    if (!fs::is_directory(folder, ignored)) fail("{}: is no folder; hint: another --out", folder);
    const std::optional<int64_t> n_clips = generated_clips(folder);
    for (const auto& entry : fs::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        if (!n_clips)
            fail(
                "{}: holds {} and no {} of generated clips, and --overwrite would remove it; hint: another "
                "--out",
                folder, name, kListenPage);
        if (!entry.is_regular_file() || !is_generated(name, *n_clips))
            fail(
                "{}: holds {}, which is no generated clip, and --overwrite would remove it; hint: another "
                "--out",
                folder, name);
    }
}

}  // namespace

ClipOutput::ClipOutput(const ClipPlace& place) : place_(place), streams_(place.out == "-") {
    const std::string& out = place.out;
    const bool is_file = written_type(out).has_value();
    if (!is_file) refuse_other_audio(out);
    if (is_file && place.n_records > 1)
        throw UsageError(
            fmt::format("--out {}: a file of one record, --num and --class ask for {}; hint: a folder, "
                        "a name without .wav or .flac",
                        out, place.n_records));
    // A file that cannot be is refused before anything is generated for it.
    if (!streams_ && type() == AudioFileType::flac && !flac_can_have(place.rate_hz))
        fail("--out {}: FLAC cannot have a sample rate of {} Hz; hint: a name that ends in .wav", out,
             place.rate_hz);
    constexpr int64_t kMostWavBytes = (int64_t{1} << 32) - 1024;  // sizes in its header have 32 bits
    if (!streams_ && type() == AudioFileType::wav && place.n_samples > kMostWavBytes / 2)
        fail("{}: a WAV file holds at most {} samples, {} are asked for; hint: --out ending in .flac, or -",
             out, kMostWavBytes / 2, place.n_samples);
    if (streams_) {
        if (::isatty(STDOUT_FILENO) == 1)
            fail("standard output is a terminal, which cannot play audio; hint: append  | {}", player());
        return;
    }
    std::vector<std::string> taken{out};
    if (is_file && place.spectrogram) taken.push_back(fs::path(out).replace_extension(".png").string());
    std::error_code ignored;
    // An empty folder is as good as none.
    for (const std::string& path : taken)
        if (!place.overwrite && fs::exists(path, ignored) && !(path == out && is_empty_folder(out)))
            fail("{}: exists; hint: another --out, or --overwrite", path);
    if (is_file) {
        file_.emplace(out);
        return;
    }
    if (fs::exists(out, ignored)) check_replaceable(out);
    folder_.emplace(out, place.overwrite);
}

ClipOutput::~ClipOutput() = default;

AudioFileType ClipOutput::type() const {
    return written_type(place_.out).value_or(AudioFileType::wav);
}

std::string ClipOutput::player() const {
    return fmt::format("aplay -q -t raw -f S16_LE -c 1 -r {} -", place_.rate_hz);
}

void ClipOutput::write(int64_t record, std::span<const float> samples) {
    if (streams_) {
        block_.clear();
        for (const float x : samples) block_.push_back(as_pcm16(x));
        return write_to_stdout(block_);
    }
    Clip& clip = open_[record];
    if (!clip.writer)
        clip.writer = std::make_unique<AudioWriter>(path_of(record), type(), place_.rate_hz, tags_of(record));
    clip.writer->write(samples);
    clip.n += std::ssize(samples);
    CHECK(clip.n <= place_.n_samples);
    if (clip.n < place_.n_samples) return;
    clip.writer->finish();
    open_.erase(record);
}

std::string ClipOutput::name_of(int64_t record) const {
    return file_ ? fs::path(place_.out).filename().string() : fmt::format("{:04}.wav", record);
}

std::string ClipOutput::path_of(int64_t record) const {
    return file_ ? file_->temporary() : in_folder(name_of(record));
}

std::string ClipOutput::in_folder(const std::string& name) const {
    return folder_->temporary() + "/" + name;
}

void ClipOutput::add_beside(int64_t record, const char* ending, std::span<const std::byte> bytes) {
    const fs::path name = folder_ ? in_folder(name_of(record)) : place_.out;
    auto file = std::make_unique<AtomicFile>(fs::path(name).replace_extension(ending).string());
    file->write(bytes.data(), std::ssize(bytes));
    if (folder_) return file->commit();
    beside_.push_back(std::move(file));
}

void ClipOutput::add_page(std::string_view text) {
    write_file(in_folder(kListenPage), text);
}

AudioTags ClipOutput::tags_of(int64_t record) const {
    return place_.tags ? place_.tags(record) : AudioTags();
}

void ClipOutput::commit() {
    if (streams_) return;
    CHECK(open_.empty());
    for (auto& file : beside_) file->commit();
    file_ ? file_->commit() : folder_->commit();
}

}  // namespace adder
