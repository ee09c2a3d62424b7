// Where generated audio goes: raw PCM to standard output, one file, or a folder of files; as it is made, in
// memory that does not grow with its length.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/audio.h"
#include "io/file.h"

namespace adder {

struct ClipPlace {
    std::string out;  // as --out of `generate`: "-", a name that ends in .wav or .flac in any case, or a folder
    bool overwrite = false;
    bool spectrogram = false;  // there will be a picture beside each file
    int64_t rate_hz = 0, n_records = 0;
    int64_t n_samples = 0;                               // of every record
    std::function<AudioTags(int64_t record)> tags = {};  // what its file says of it; may be empty
};

class ClipOutput {
  public:
    // Errors: what is there already and may not be replaced (of folders whatever is no page and clips of an
    // earlier run), a terminal, records or a rate that the format cannot hold; UsageError for one file of
    // several records, and for a suffix of other audio.
    explicit ClipOutput(const ClipPlace& place);
    ~ClipOutput();

    bool streams() const { return streams_; }
    bool is_folder() const { return folder_.has_value(); }
    // The command that plays what is streamed.
    std::string player() const;

    // The next samples of a record; it ends with its last sample. Streamed records come one after another.
    void write(int64_t record, std::span<const float> samples);
    // Where the finished file of a record is at present, and what it is called: "0007.wav".
    std::string path_of(int64_t record) const;
    std::string name_of(int64_t record) const;
    // Another file, which appears with those of the records: of a record's name but for its ending, or in the
    // folder. Not of streams.
    void add_beside(int64_t record, const char* ending, std::span<const std::byte> bytes);
    void add_page(std::string_view text);  // listen.html
    // All is there: it appears under its name.
    void commit();

  private:
    struct Clip {
        std::unique_ptr<AudioWriter> writer;
        int64_t n = 0;
    };
    AudioFileType type() const;
    std::string in_folder(const std::string& name) const;
    AudioTags tags_of(int64_t record) const;

    ClipPlace place_;
    bool streams_;
    std::optional<AtomicFile> file_;
    std::optional<AtomicFolder> folder_;
    std::vector<std::unique_ptr<AtomicFile>> beside_;
    std::map<int64_t, Clip> open_;
    std::vector<int16_t> block_;
};

}  // namespace adder
