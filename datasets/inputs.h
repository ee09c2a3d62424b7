// Which files a list of --input values stands for.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace adder {

// The files that are given, and the parts of them that manifests name: none twice.
class GivenFiles {
  public:
    // `place`: of a manifest's row, "list.tsv, line 3". Throws Error where the same part of the file, by
    // whatever name, was added before.
    void add(const std::string& path, std::optional<double> start = {}, std::optional<double> end = {},
             const std::string& place = "");

  private:
    std::map<std::tuple<std::string, double, double>, std::string> places_;  // of (canonical, start, end)
};

// Files and "-" (standard input, once) stand for themselves. A folder stands for the files directly in it, in
// the order of their names, that have a usual suffix of nucleotide FASTA (.fa .fasta .fna .ffn .fas .fsa,
// also with a suffix of compression) or begin with '>', or have one of reads (.fq .fastq, also compressed,
// .sam .bam .cram) or are BAM or CRAM; hidden files, .faa (protein) and subfolders are left out. What was
// left out, but for hidden files and indexes, is a line for the user at the end of `notes`. Errors: a missing
// path, a folder without such files, or with both genomes and reads, the same file twice.
std::vector<std::string> sequence_inputs(std::span<const std::string> values,
                                         std::vector<std::string>* notes = nullptr);

}  // namespace adder
