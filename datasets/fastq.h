// FASTQ records (Cock et al., "The Sanger FASTQ file format", Nucleic Acids Res. 38, 2010), qualities
// Phred+33. Not htslib's parser: that one turns lower case and '.' into other letters and names no place when
// it fails.
#pragma once
#include <memory>
#include <string>

#include "datasets/hts.h"

namespace adder {

struct FastqRecord {
    std::string name;       // the first word of the header
    std::string comment;    // the rest of the header
    std::string sequence;   // letters, '.', '-' and '*' as they stand in the file, lines joined; may be empty
    std::string qualities;  // as many Phred values, 0-93
};

// Reads record after record; memory is one record. Sequences may be wrapped, then qualities may be too. Lines
// end in \n or \r\n, the last one may end with the file; blank lines between records and blanks at line ends
// are skipped. Errors name file, record, line and a remedy.
class FastqReader {
  public:
    explicit FastqReader(InputFile file);
    ~FastqReader();
    FastqReader(FastqReader&&) noexcept;
    // False only at a clean end. After an Error the reader is of no further use.
    bool next(FastqRecord& record);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace adder
