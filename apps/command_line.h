// The command line of one command: long options only, over the OptionList of its options struct.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "core/options.h"

namespace adder {

struct CommandText {
    const char* name;
    const char* summary;   // one line
    const char* examples;  // one command a line
};

struct CommandLine {
    bool help = false;          // the caller prints `help_text` and returns
    bool print_config = false;  // the caller resolves derived options, prints `config_text` and returns
    std::set<std::string> given;  // options set by the command line or by --config FILE
    // Of these, what somebody decided: not what --config says as it is by default, as --print-config writes all of them.
    std::set<std::string> chosen;
};

// Sets `options` from `args` and, where `args` are silent, from the JSON object in --config FILE. Adds --config,
// --print-config and --help. Throws UsageError for an unknown option (naming the nearest), an option given twice that
// cannot be repeated, a missing or malformed value; Error when the file is unreadable or holds something else.
// Required options are not asked for here: `require_all` does, after a run has been restored.
CommandLine parse_command_line(const CommandText& command, const std::vector<std::string>& args, OptionList& options);

std::string help_text(const CommandText& command, const OptionList& options);
std::string config_text(const OptionList& options);

}  // namespace adder
