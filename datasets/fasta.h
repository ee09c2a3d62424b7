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
};

// Reads record after record; memory is one record. Lines of any length end in \n or \r\n, the last one may
// end with the file; blank lines and blanks at line ends are skipped. Errors, one line that names file,
// record, line and a remedy: missing or empty file, another format (FASTQ, BAM, ...), no header, a header
// without name or without sequence, anything but letters in a sequence, damaged or truncated compression (for
// bgzip also a missing end block).
class FastaReader {
  public:
    explicit FastaReader(const std::string& path);
    explicit FastaReader(InputFile file);
    ~FastaReader();
    FastaReader(FastaReader&&) noexcept;
    // False only at a clean end. After an Error the reader is of no further use.
    bool next(FastaRecord& record);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Appends one record, wrapped at `width` letters a line.
void append_fasta(std::string& out, std::string_view header, std::string_view sequence, int64_t width = 80);

}  // namespace adder
