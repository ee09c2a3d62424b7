// Audio files, read and written in blocks: the only user of libsndfile.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace adder {

class ScratchFile;

// What sample rates may be: beyond them a header is damaged rather than unusual.
constexpr int64_t kLowestRateHz = 1000, kHighestRateHz = 768'000;

// Bytes that can be read several times: a file, or standard input or a pipe, spooled to a file without a
// name.
class AudioInput {
  public:
    // `path` "-" is standard input. Errors: missing or unreadable, a folder, empty, more than `limit_bytes`
    // from a pipe, no room for it in $TMPDIR (or /tmp).
    explicit AudioInput(const std::string& path, int64_t limit_bytes = kDefaultLimitBytes);
    ~AudioInput();
    AudioInput(AudioInput&&) noexcept;

    static constexpr int64_t kDefaultLimitBytes = 2'000'000'000;

    // For messages: the path, or "standard input".
    const std::string& name() const { return name_; }
    int64_t bytes() const { return bytes_; }
    // A descriptor of its own for each reader, at offset 0.
    int open() const;
    // Up to `count` bytes from `offset` on; fewer only at the end.
    std::string peek(int64_t offset, int64_t count) const;

  private:
    void spool(int64_t limit_bytes);

    std::string name_, path_;
    std::unique_ptr<ScratchFile> spooled_;
    int64_t bytes_ = 0;
};

// What a file says of itself, UTF-8; in WAV behind the samples, which stand where most readers look for them.
struct AudioTags {
    std::string title = {}, comment = {};
};

struct AudioInfo {
    int64_t rate_hz = 0, channels = 0;
    int64_t frames = -1;      // -1: not known before the end
    std::string format = {};  // "WAV (Microsoft), Signed 16 bit PCM"
    AudioTags tags = {};
};

// WAV (PCM of 8 to 32 bits, float, A-law, mu-law, ADPCM, GSM; extensible, RF64), AIFF, FLAC, Ogg with Vorbis
// or Opus, and MP3, told apart by content. A frame is one sample of every channel.
class AudioReader {
  public:
    // `input` must outlive the reader. Errors: another format (named where it is a common one), a damaged
    // header, a rate outside [kLowestRateHz, kHighestRateHz], no frames, fewer bytes of samples than the
    // header promises.
    explicit AudioReader(const AudioInput& input);
    ~AudioReader();
    AudioReader(AudioReader&&) noexcept;

    const AudioInfo& info() const;
    // The next frames, interleaved, full scale = 1 (floating-point files may go beyond). Returns how many;
    // fewer than fit only at a clean end. `samples` holds a whole number of frames. Errors: damage, an end
    // before the last frame, a sample that is no finite number; they name the frame. Damage of Ogg and MPEG
    // is looked for before the first frame (audio_stream.h).
    int64_t read(std::span<float> samples);
    // Passes over `frames` frames; fewer only at the end. Returns how many.
    int64_t skip(int64_t frames);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// A sample as 16 bits; beyond full scale it is clipped.
int16_t as_pcm16(float sample);

enum class AudioFileType { wav, flac };

// By the suffix, in any case; nothing where it is neither .wav nor .flac.
std::optional<AudioFileType> written_type(const std::string& path);

// Above 65,535 Hz FLAC has room for some rates only.
bool flac_can_have(int64_t rate_hz);

// Mono audio of 16 bits (as_pcm16), written as it comes.
class AudioWriter {
  public:
    // To a file that the caller makes appear (AtomicFile::temporary), or to memory. Errors: a rate that the
    // format cannot have, a path that cannot be written.
    AudioWriter(const std::string& path, AudioFileType type, int64_t rate_hz, const AudioTags& tags = {});
    AudioWriter(std::vector<std::byte>& to, AudioFileType type, int64_t rate_hz);
    ~AudioWriter();
    void write(std::span<const float> samples);
    // Completes the header. Once, and last; without it what was written is of no use. Errors: a full disk.
    void finish();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace adder
