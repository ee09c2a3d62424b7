// Log lines. Nothing below `apps` decides where they go: until a sink is set they are dropped.
#pragma once
#include <fmt/core.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace adder {

enum class LogLevel { info, warning };

// Set once by `main`, before any thread starts: a global, since a line worth telling may come from anywhere.
void set_log_sink(std::function<void(LogLevel, std::string_view)> sink);
void log_line(LogLevel level, std::string_view line);

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
    log_line(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
    log_line(LogLevel::warning, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace adder
