// Sequencing reads: FASTQ (plain, gzip, bgzip), SAM, BAM and CRAM, filtered and in the orientation they were
// read in.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "datasets/hts.h"

namespace adder {

struct ReadFilter {
    int64_t min_length = 0;       // bases; shorter reads are dropped
    double min_quality = 0;       // Phred; reads of a lower mean quality (mean_quality) are dropped; 0: none
    double min_base_quality = 0;  // Phred; bases below it become N; 0: none

    bool needs_qualities() const { return min_quality > 0 || min_base_quality > 0; }
};

struct Read {
    std::string name;       // the first word of the header; "/1" or "/2" is added for the mates of a pair
    std::string sequence;   // letters as in FASTQ, '.' as N, without '-' and '*'; upper-case IUPAC codes of
                            // SAM, BAM and CRAM
    std::string qualities;  // as many Phred values (0-93), not letters; empty where unknown
};

// What was read, kept and dropped. Every record is counted once, under the first reason that holds, in this
// order.
struct ReadCounts {
    int64_t read = 0, kept = 0;
    int64_t secondary = 0, supplementary = 0, duplicate = 0,
            qc_fail = 0;            // flags; qc_fail also the Y of Casava 1.8
    int64_t empty = 0;              // no sequence
    int64_t too_short = 0;          // below min_length
    int64_t unknown_quality = 0;    // no qualities, where the filter needs them
    int64_t low_quality = 0;        // below min_quality
    int64_t kept_bases = 0;         // of the kept reads
    int64_t masked_bases = 0;       // of these, below min_base_quality: now N
    int64_t unresolved_bases = 0;   // of these, given as '=' (as in the reference): now N
    int64_t skipped = 0;            // '-' and '*' that are not among them
    int64_t reversed = 0;           // of the kept: turned back to read orientation
    int64_t without_qualities = 0;  // of the kept

    ReadCounts& operator+=(const ReadCounts& other);
    int64_t dropped() const { return read - kept; }
    // "1200 reads, 1000 kept (150000 bases), dropped: 150 secondary, 50 shorter than 100; ...". Names only
    // what occurs.
    std::string text(const ReadFilter& filter) const;
};

// Phred value of the mean error probability, -10 log10(mean of 10^(-q/10)), as tools for nanopore reads
// define it: the plain mean of Phred values would hide a bad stretch behind a good one. n >= 1.
double mean_quality(std::string_view qualities);

// Records of any length. FASTQ may be wrapped, its lines end in \n or \r\n, blank lines between records are
// skipped; qualities are Phred+33; names may occur more than once. Paired records are reads of their own.
// Errors name file, record, line or place, and a remedy: sequence and qualities of different lengths, a
// record that is cut short, a character that is no letter or no quality, a separator with another name,
// damaged compression, a missing end block, a CRAM whose reference is missing or differs.
class ReadsReader {
  public:
    // `file` is FASTQ, SAM, BAM or CRAM; `reference` as for AlignmentFile.
    ReadsReader(InputFile file, const ReadFilter& filter, const std::string& reference = "");
    ~ReadsReader();
    ReadsReader(ReadsReader&&) noexcept;
    // The next read that the filter keeps. False only at a clean end. After an Error the reader is of no
    // further use.
    bool next(Read& read);
    const ReadCounts& counts() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace adder
