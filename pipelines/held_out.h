// Inputs that are held out by --valid: no file of theirs is trained on, and a record that is in both is told.
#pragma once
#include <set>
#include <span>
#include <string>
#include <vector>

#include "pipelines/records.h"

namespace adder {

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

// The warning that records with the same symbols are among the inputs and held out; "" where there are none.
std::string shared_records(std::span<const TokenRecord> inputs, std::span<const TokenRecord> held_out);

}  // namespace adder
