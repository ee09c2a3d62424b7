// adder: one binary, a table of commands. Exit 0 ok, 1 failed, 2 the command line alone is wrong.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "apps/app.h"
#include "apps/build_info.h"
#include "core/error.h"
#include "core/interrupted.h"
#include "core/log.h"
#include "core/options.h"

namespace adder {
namespace {

std::string overview() {
    std::string text =
        "adder trains, evaluates and runs Mamba models on DNA and audio.\n\nusage: adder COMMAND "
        "[options]\n\ncommands:\n";
    for (const Command& c : commands()) text += fmt::format("  {:<10} {}\n", c.name, c.summary);
    return text +
           "  help       this text, or that of a command: adder help COMMAND\n"
           "  --version  commit, compiler, instruction sets and libraries\n\n"
           "Every command has --help with an example.\n";
}

const Command& find_command(const std::string& name) {
    std::vector<std::string> names = {"help"};
    for (const Command& c : commands()) {
        if (name == c.name) return c;
        names.push_back(c.name);
    }
    throw UsageError(fmt::format("unknown command '{}'; the nearest is '{}'; hint: adder help", name,
                                 nearest_name(name, names)));
}

void dispatch(App& app, std::vector<std::string> args) {
    if (args.empty()) throw UsageError("a command is missing; hint: adder help");
    std::string name = args[0];
    args.erase(args.begin());
    if (name == "help" || name == "--help") {
        if (args.empty()) {
            app.results = overview();
            return;
        }
        if (args.size() > 1) throw UsageError(fmt::format("help: unexpected argument '{}'", args[1]));
        name = args[0];
        args = {"--help"};
    }
    if (name == "--version") {
        if (!args.empty()) throw UsageError(fmt::format("--version: unexpected argument '{}'", args[0]));
        app.results = version_text();
        return;
    }
    const Command& command = find_command(name);
    try {
        command.run(app, args);
    } catch (const OutOfMemory& e) {
        fail("{}; hint: {}", e.what(), command.less_memory);
    } catch (const std::bad_alloc&) {
        fail("out of memory; hint: {}", command.less_memory);
    }
}

void write_results(std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail("standard output: {}", std::strerror(errno));
        text.remove_prefix(static_cast<size_t>(n));
    }
}

// An error is one line, whatever a file name or a library put into it.
std::string one_line(std::string text) {
    for (char& c : text)
        if (c == '\n' || c == '\r') c = ' ';
    return "adder: " + text;
}

int run(int argc, char** argv) {
    // A reader that goes away, or a file-size limit, shows as a failed write, which ends in one line like any other.
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    Console console(STDERR_FILENO, isatty(STDERR_FILENO) == 1);
    set_log_sink([&console](LogLevel level, std::string_view text) {
        console.line(level == LogLevel::warning ? fmt::format("warning: {}", text) : std::string(text));
    });
    App app{console, {}};
    int exit_code = 1;
    try {
        dispatch(app, std::vector<std::string>(argv + 1, argv + argc));
        console.finish_line();
        write_results(app.results);
        exit_code = 0;
    } catch (const UsageError& e) {
        console.line(one_line(e.what()));
        exit_code = 2;
    } catch (const Interrupted&) {
        console.line("adder: stopped by a signal before the end");
    } catch (const std::exception& e) {
        console.line(one_line(e.what()));
    }
    set_log_sink(nullptr);
    return exit_code;
}

}  // namespace
}  // namespace adder

int main(int argc, char** argv) { return adder::run(argc, argv); }
