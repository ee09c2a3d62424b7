// Intervals of sequences: BED files, plain or gzip. The format is that of the UCSC genome browser and of "The
// Browser Extensible Data (BED) format" in samtools/hts-specs.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace adder {

// Positions [begin, end) of one contig, counted from 0.
struct Interval {
    std::string contig;
    int64_t begin = 0, end = 0;
    std::string name;   // column 4 as it stands: a name, or what a data set keeps there; "" without one
    char strand = '.';  // column 6: '+', '-' or '.'
    std::string split;  // the column that the first line calls so, else column 4: the part of a data set
    int64_t line = 0;   // in the file, counted from 1
    int64_t size() const { return end - begin; }
    std::string label() const;  // column 4, else "contig:begin-end"
};

struct BedFile {
    std::string path;
    std::vector<Interval> intervals;  // in the order of the file
};

// Columns are separated by tabs, or by blanks in a line without tabs. Blank lines, '#', "track" and "browser"
// lines are skipped, and so is a first line that names its columns (chrom start end ...), with or without
// '#'; what it calls "strand" and "split" is taken from there. Lines end in \n or \r\n, the last one may end
// with the file. Errors name file, line and a remedy: a missing file, damaged compression, fewer than three
// columns, a begin or end that is no number, an interval that is empty or ends before it begins, a strand
// other than + - and '.', no interval at all.
BedFile read_bed(const std::string& path);

// For every interval, which of the `names` its contig is. A contig is named as it stands there or, where
// `names` hold "file:contig", without the file. Errors name file, line and the contig: one that no name fits
// (with the nearest of `names` and of `others`, which are there but cannot be located in), one that several
// fit, an interval past the end (`lengths`) of its contig.
std::vector<int64_t> locate(const BedFile& bed, std::span<const std::string> names, std::span<const int64_t> lengths,
                            std::span<const std::string> others = {});

}  // namespace adder
