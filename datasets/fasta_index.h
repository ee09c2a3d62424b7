// Some sequences of a large FASTA file without reading the others.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/hts.h"

namespace adder {

// Uses the .fai beside a file, or builds it, and for bgzip the .gzi, where it is missing or older than the
// file. An index that is built here is compared with what FastaReader reads before it appears, so that both
// agree on every position: files with gaps, stops or blanks in a sequence have none. Nor have standard input,
// gzip, and files beside which nothing can be written. One that another program built is used where it
// accounts for every header of the file.
class FastaIndex {
  public:
    // Null where there is no index and none can be built: then FastaReader is the way.
    static std::unique_ptr<FastaIndex> of(const std::string& fasta);

    const std::vector<FaiFile::Sequence>& sequences() const { return sequences_; }  // in the order of the file
    // Letters [begin, end) of a sequence, as they stand in the file, in runs of a MiB at most. False where
    // something else stands among them, as gaps and stops do in the count of samtools, or the file ends: then
    // the index is of no use, and FastaReader is the way. Errors: a place outside of the sequence.
    bool read(const FaiFile::Sequence& sequence, int64_t begin, int64_t end,
              const std::function<void(std::string_view)>& on_run) const;

  private:
    FastaIndex(std::string fasta, std::unique_ptr<FaiFile> file);

    std::string fasta_;
    std::unique_ptr<FaiFile> file_;
    std::vector<FaiFile::Sequence> sequences_;
};

}  // namespace adder
