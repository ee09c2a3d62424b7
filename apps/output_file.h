// Where a command is to write a file: what cannot or may not be written there shows before anything is
// computed.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "core/options.h"

namespace adder {

// Of the option `name`, whose value is the name of a file; nothing is done where it is not given. Throws
// UsageError for -, standard output; Error for a file that is there without `overwrite`, for one that another
// option reads, or that lies in a folder of inputs, even with it, and for a place where no file can be made.
void check_output(OptionList& options, std::string_view name, bool overwrite);

// The same where - is standard output.
void check_output_or_stdout(OptionList& options, std::string_view name, bool overwrite);

// Of the option `name`, whose value is the folder of a run: throws Error where --overwrite would remove what
// another option names.
void check_output_folder(OptionList& options, std::string_view name, bool overwrite);

// Throws Error where one of the options that name outputs would replace a file that was read, or --overwrite of a run's
// folder remove one: whatever folder, pattern, table or link led to it.
void check_was_not_read(const OptionList& options, std::span<const std::string> files);

// Whether `path` is `folder` or something below it, by whatever name.
bool lies_in(const std::string& path, const std::string& folder);

// Text without tabs and line breaks as a field of a table: in quotes where it begins with one, since readers of
// tables, Table too, take that for the beginning of a quoted field (RFC 4180).
std::string table_field(const std::string& text);

}  // namespace adder
