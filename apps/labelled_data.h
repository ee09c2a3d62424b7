// Records with classes, divided into a part to learn from, one to choose by and one to test on.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "apps/console.h"
#include "pipelines/domain.h"
#include "pipelines/members.h"

namespace adder {

struct LabelledOptions {
    std::string labels;          // table of names and labels; "" = the input says them itself (a manifest)
    std::string group;           // its column of groups; "" = `group` where there is one
    double valid_fraction = 0.1;  // where no part to choose by is named
    uint64_t seed = 0;
};

struct LabelledData {
    Dataset data;                      // `train`, `valid` and `test` hold the records of the parts, whole
    std::vector<std::string> classes;  // sorted
    std::vector<LabelledRecord> train, valid, test;
};

// A table's or manifest's column `split` decides; where it names no part `valid`, the fraction is taken of `train`: of every
// class in the same proportion, groups whole, by the seed. `data.split_digest` covers labels and parts. Errors beside those
// of the inputs: records and labels that do not match, a record without a label or without a token, fewer than two classes,
// a class that no training record has.
LabelledData load_labelled(const Domain& domain, const DataOptions& options, const LabelledOptions& labelled,
                           Console& console, const OptionList& command);

// Throws one Error that names records in which there is no token.
void require_tokens(const Dataset& data);

}  // namespace adder
