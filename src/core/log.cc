#include "core/log.h"

namespace adder {

namespace {
std::function<void(LogLevel, std::string_view)>& sink() {
    static std::function<void(LogLevel, std::string_view)> s;
    return s;
}
}  // namespace

void set_log_sink(std::function<void(LogLevel, std::string_view)> s) { sink() = std::move(s); }

void log_line(LogLevel level, std::string_view line) {
    if (sink()) sink()(level, line);
}

}  // namespace adder
