// FASTA: plain, gzip or bgzip, told apart by content; "-" is standard input.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "datasets/hts.h"

namespace adder {

struct FastaRecord {
    std::string name;      // the first word of the header
    std::string header;    // the whole header line without '>'
    std::string sequence;  // the letters A-Z and a-z as they stand in the file, lines joined
    int64_t skipped = 0;   // '-', '.' and '*' that are not in `sequence`
};

// Reads record after record. Lines of any length end in \n or \r\n, the last one may end with the file; blank
// lines and blanks in a sequence are skipped, gaps '-' and '.' and stops '*' are skipped and counted. Errors,
// one line that names file, record, line and a remedy: missing or empty file, another format (FASTQ, BAM,
// ...), no header, a header without name or without sequence, anything else but letters in a sequence,
// damaged or truncated compression (for bgzip also a missing end block).
class FastaReader {
  public:
    explicit FastaReader(const std::string& path);
    explicit FastaReader(InputFile file);
    ~FastaReader();
    FastaReader(FastaReader&&) noexcept;
    // The next record whole, in memory of one record. False only at a clean end. After an Error the reader is of no further
    // use.
    bool next(FastaRecord& record);
    // The same in constant memory: the next record without its sequence, then its letters run by run. A run is valid until
    // the next call and never empty but at the end of the record, where `skipped` is complete. What is left of a record is
    // skipped by the next one.
    bool next_header(FastaRecord& record);
    std::string_view next_letters();
    int64_t skipped() const;
    // Whether blanks stand in the lines of the record as far as it was read: then no index can tell where a letter is.
    bool has_blanks() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Appends one record, wrapped at `width` letters a line.
void append_fasta(std::string& out, std::string_view header, std::string_view sequence, int64_t width = 80);

}  // namespace adder
