// Where generated audio goes: raw PCM to standard output, one file, or a folder of files; as it is made, in
// memory that does not grow with its length.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "datasets/audio.h"
#include "io/file.h"

namespace adder {

class ClipOutput {
  public:
    // `out` as --out of `generate`; n_samples is the length of every record. Errors: what is there already
    // and `overwrite` does not allow to replace, a terminal, records that the format cannot hold; UsageError
    // for a file of several records.
    ClipOutput(const std::string& out, bool overwrite, int64_t rate_hz, int64_t n_records, int64_t n_samples);
    ~ClipOutput();

    bool streams() const { return streams_; }
    // The command that plays what is streamed.
    std::string player() const;

    // The next samples of a record; it ends with its last sample. Streamed records come one after another.
    void write(int64_t record, std::span<const float> samples);
    // Where the finished file of a record is at present, and what it is called: "0007.wav".
    std::string path_of(int64_t record) const;
    std::string name_of(int64_t record) const;
    // Where another file beside those of the records may be put, and then appears with them; `name` is within
    // the folder, or an ending in place of that of the one file. Not of streams.
    std::string beside(int64_t record, const std::string& suffix);
    std::string in_folder(const std::string& name) const;
    bool is_folder() const { return folder_.has_value(); }
    // All is there: it appears under its name.
    void commit();

  private:
    struct Clip {
        std::unique_ptr<AudioWriter> writer;
        int64_t n = 0;
    };
    AudioFileType type() const;

    std::string out_;
    int64_t rate_hz_, n_samples_;
    bool streams_ = false;
    std::optional<AtomicFile> file_;
    std::optional<AtomicFolder> folder_;
    std::vector<std::unique_ptr<AtomicFile>> beside_;
    std::map<int64_t, Clip> open_;
    std::vector<int16_t> block_;
};

}  // namespace adder
