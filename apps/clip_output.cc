#include "apps/clip_output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <regex>

#include "core/error.h"

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

// --overwrite takes the place of a folder of clips, not of whatever folder it is pointed at.
void check_replaceable(const std::string& folder) {
    static const std::regex ours("[0-9]{4,}\\.(wav|flac|png)|listen\\.html");
    for (const auto& entry : fs::directory_iterator(folder))
        if (const std::string name = entry.path().filename().string();
            !entry.is_regular_file() || !std::regex_match(name, ours))
            fail(
                "{}: holds {}, which is no generated clip, and --overwrite would remove it; hint: another "
                "--out",
                folder, name);
}

}  // namespace

ClipOutput::ClipOutput(const std::string& out, bool overwrite, int64_t rate_hz, int64_t n_records,
                       int64_t n_samples)
    : out_(out), rate_hz_(rate_hz), n_samples_(n_samples), streams_(out == "-") {
    const bool is_file = out.ends_with(".wav") || out.ends_with(".flac");
    if (is_file && n_records > 1)
        throw UsageError(fmt::format(
            "--out {}: a file of one record, --num and --class ask for {}; hint: a folder, a name "
            "without .wav or .flac",
            out, n_records));
    constexpr int64_t kMostWavBytes = (int64_t{1} << 32) - 1024;  // sizes in its header have 32 bits
    if (!streams_ && type() == AudioFileType::wav && n_samples > kMostWavBytes / 2)
        fail("{}: a WAV file holds at most {} samples, {} are asked for; hint: --out ending in .flac, or -",
             out, kMostWavBytes / 2, n_samples);
    if (streams_) {
        if (::isatty(STDOUT_FILENO) == 1)
            fail("standard output is a terminal, which cannot play audio; hint: append  | {}", player());
        return;
    }
    std::error_code ignored;
    if (fs::exists(out, ignored)) {
        if (!overwrite) fail("{}: exists; hint: another --out, or --overwrite", out);
        if (!is_file && !fs::is_directory(out, ignored)) fail("{}: is no folder; hint: another --out", out);
        if (!is_file) check_replaceable(out);
    }
    if (is_file)
        file_.emplace(out);
    else
        folder_.emplace(out, overwrite);
}

ClipOutput::~ClipOutput() = default;

AudioFileType ClipOutput::type() const {
    return out_.ends_with(".flac") ? AudioFileType::flac : AudioFileType::wav;
}

std::string ClipOutput::player() const {
    return fmt::format("aplay -q -t raw -f S16_LE -c 1 -r {} -", rate_hz_);
}

void ClipOutput::write(int64_t record, std::span<const float> samples) {
    if (streams_) {
        block_.clear();
        for (const float x : samples) block_.push_back(as_pcm16(x));
        return write_to_stdout(block_);
    }
    Clip& clip = open_[record];
    if (!clip.writer) clip.writer = std::make_unique<AudioWriter>(path_of(record), type(), rate_hz_);
    clip.writer->write(samples);
    clip.n += std::ssize(samples);
    CHECK(clip.n <= n_samples_);
    if (clip.n < n_samples_) return;
    clip.writer->finish();
    open_.erase(record);
}

std::string ClipOutput::name_of(int64_t record) const {
    return file_ ? fs::path(out_).filename().string() : fmt::format("{:04}.wav", record);
}

std::string ClipOutput::path_of(int64_t record) const {
    return file_ ? file_->temporary() : in_folder(name_of(record));
}

std::string ClipOutput::in_folder(const std::string& name) const {
    return folder_->temporary() + "/" + name;
}

std::string ClipOutput::beside(int64_t record, const std::string& suffix) {
    if (folder_) return in_folder(fs::path(name_of(record)).replace_extension(suffix).string());
    beside_.push_back(std::make_unique<AtomicFile>(fs::path(out_).replace_extension(suffix).string()));
    return beside_.back()->temporary();
}

void ClipOutput::commit() {
    if (streams_) return;
    CHECK(open_.empty());
    for (auto& file : beside_) file->commit();
    file_ ? file_->commit() : folder_->commit();
}

}  // namespace adder
