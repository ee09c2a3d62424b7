// What `adder probe` reads: feature rows in the order of the label table.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "datasets/labels.h"
#include "train/logistic.h"

namespace adder {

// Features of all rows of a label table, (n,d).
struct LabelledFeatures {
    std::vector<float> values;
    int64_t n = 0, d = 0;
    FeatureRows rows() const { return {values.data(), n, d}; }
};

// The pooled embeddings of an HDF5 file as `adder embed` writes it: datasets `embedding` (n,d), f32 or f64, and `name`
// (n). Errors: those of the file, embeddings of single positions, names that do not match the labels, a value that is
// not finite (example and column are named).
LabelledFeatures read_embeddings(const std::string& path, const LabelTable& labels);

// Where the embedded sequences are: DNA inputs as `adder embed` takes them, and the regions of them that were embedded.
struct ProbeSequences {
    std::vector<std::string> input;
    std::string regions;  // a BED file; "": whole records
    const OptionList* command = nullptr;  // whose outputs may be none of the files that are read
};

// For k = 1 .. most_k the k-mer frequencies of the sequences that have the names of the labels: names are given as
// `adder embed` does. Others are passed over. Errors: those of the files, a name without sequence, or with two.
std::vector<LabelledFeatures> read_kmers(const ProbeSequences& sequences, const LabelTable& labels, int most_k);

}  // namespace adder
