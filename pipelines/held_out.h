// What is held out: that it is not trained on, or that this is told.
#pragma once
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pipelines/domain.h"

namespace adder {

// The files of --valid.
class HeldOutFiles {
  public:
    // Every file that is held out, or "-".
    explicit HeldOutFiles(const std::vector<std::string>& files);

    // Whether `file`, found in a folder of inputs, is to be left out of them. Throws Error where it is held
    // out and `is_named` as an input itself.
    bool leaves_out(const std::string& file, bool is_named) const;

  private:
    std::set<std::string> canonical_;
};

// Numbers the sequences of files (Origin::sequence), by whatever name a file is read again.
class SequenceNumbers {
  public:
    // The number of the first of the `n` sequences of a file; the others follow it.
    int64_t first_of(const std::string& file, int64_t n);

  private:
    std::map<std::pair<std::string, int64_t>, int64_t> first_;  // of (canonical file, n)
    int64_t next_ = 0;
};

// Appends the records of --valid, or held-out ones of a store, to those of the inputs; all of them are valid.
void add_held_out(std::vector<TokenRecord> records, Split& split, Dataset& data);

// Throws Error where two records, in different parts, hold the same place of one sequence of a file, as rows
// of a manifest may. `unit`: of Origin, for the message. Records of unknown origin are passed over.
void check_parts(const Dataset& data, const char* unit);

// The warning that the same symbols are trained on and held out, as copies of a file are; "" where none are.
// Only what is alike from its begin to its end is found.
std::string shared_records(const Dataset& data);

}  // namespace adder
