// Which files a list of --input values stands for.
#pragma once
#include <span>
#include <string>
#include <vector>

namespace adder {

// Files and "-" (standard input, once) stand for themselves. A folder stands for the files directly in it, in
// the order of their names, that have a usual suffix of nucleotide FASTA (.fa .fasta .fna .ffn .fas .fsa,
// also with a suffix of compression) or begin with '>', or have one of reads (.fq .fastq, also compressed,
// .sam .bam .cram) or are BAM or CRAM; hidden files, .faa (protein) and subfolders are left out. What was
// left out, but for hidden files and indexes, is a line for the user at the end of `notes`. Errors: a missing
// path, a folder without such files, or with both genomes and reads, the same file twice.
std::vector<std::string> sequence_inputs(std::span<const std::string> values,
                                         std::vector<std::string>* notes = nullptr);

}  // namespace adder
