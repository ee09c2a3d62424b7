// Which files a list of --input values stands for.
#pragma once
#include <span>
#include <string>
#include <vector>

namespace adder {

// Files and "-" (standard input, once) stand for themselves. A folder stands for the files directly in it
// that have a usual nucleotide FASTA suffix (.fa .fasta .fna .ffn .fas .fsa, also with .gz or .bgz) or begin
// with '>', in the order of their names; hidden files, .faa (protein) and subfolders are left out. Errors: a
// missing path, a folder without such files, the same file twice.
std::vector<std::string> fasta_inputs(std::span<const std::string> values);

}  // namespace adder
