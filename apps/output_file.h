// Where a command is to write a file: what cannot or may not be written there shows before anything is
// computed.
#pragma once
#include <string_view>

#include "core/options.h"

namespace adder {

// Of the option `name`, whose value is the name of a file; nothing is done where it is not given. Throws
// UsageError for -, standard output; Error for a file that is there without `overwrite`, for one that another
// option reads, or that lies in a folder of inputs, even with it, and for a place where no file can be made.
void check_output(OptionList& options, std::string_view name, bool overwrite);

// The same where - is standard output.
void check_output_or_stdout(OptionList& options, std::string_view name, bool overwrite);

}  // namespace adder
