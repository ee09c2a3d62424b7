// What `main` hands to a command.
#pragma once
#include <string>
#include <vector>

#include "apps/console.h"

namespace adder {

struct App {
    Console& console;     // log and progress, on standard error
    std::string results;  // `main` writes it to standard output, and only when the command returns
};

struct Command {
    const char* name;
    const char* summary;
    // Throws UsageError (exit 2) or Error (exit 1).
    void (*run)(App& app, const std::vector<std::string>& args);
    // What of its options lessens the memory that it takes, as a remedy.
    const char* less_memory = "end other programs";
};

// The table of commands, in the order in which help lists them.
const std::vector<Command>& commands();

}  // namespace adder
