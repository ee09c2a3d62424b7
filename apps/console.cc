#include "apps/console.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>

namespace adder {

namespace {

constexpr std::string_view kEraseLine = "\r\x1b[K";

struct Duration {
    std::array<char, 24> text;
    size_t size;
};

Duration describe_seconds(double seconds) {
    Duration d{};
    const auto whole = static_cast<int64_t>(std::clamp(std::isfinite(seconds) ? seconds : 0.0, 0.0, 1e9));
    const int64_t h = whole / 3600, m = whole / 60 % 60, s = whole % 60;
    const auto end = h > 0 ? fmt::format_to_n(d.text.data(), d.text.size(), "{}:{:02}:{:02}", h, m, s)
                           : fmt::format_to_n(d.text.data(), d.text.size(), "{}:{:02}", m, s);
    d.size = std::min(end.size, d.text.size());
    return d;
}

}  // namespace

// Standard error may be closed or full; that must not end a run.
void Console::write_all(std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(fd_, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        text.remove_prefix(static_cast<size_t>(n));
    }
}

void Console::line(std::string_view text) {
    if (line_open_) write_all(kEraseLine);
    line_open_ = false;
    write_all(text);
    write_all("\n");
}

bool Console::due(int64_t step, int64_t steps) {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double> since = now - shown_;
    const bool long_ago = terminal_ ? since.count() >= 0.1 : since.count() >= 10 && (step - shown_step_) * 20 >= steps;
    if (shown_step_ >= 0 && step < steps && !long_ago) return false;
    shown_ = now;
    shown_step_ = step;
    return true;
}

void Console::progress(const ProgressState& state) {
    if (!due(state.step, state.steps)) return;
    const Duration eta = describe_seconds(state.eta_s);
    std::array<char, 160> text;
    const auto end = fmt::format_to_n(text.data(), text.size(), "{}step {}/{}  loss {:.4f}  {:.0f} tokens/s  ETA {}{}",
                                      terminal_ ? kEraseLine : "", state.step, state.steps, state.loss,
                                      state.tokens_per_s, std::string_view(eta.text.data(), eta.size),
                                      terminal_ ? "" : "\n");
    write_all({text.data(), std::min(end.size, text.size())});
    line_open_ = terminal_;
}

void Console::work(int64_t done, int64_t all, const char* token, double seconds) {
    if (!due(done, all)) return;
    const double per_s = seconds > 0 ? static_cast<double>(done) / seconds : 0;
    const Duration eta = describe_seconds(per_s > 0 ? static_cast<double>(all - done) / per_s : 0);
    std::array<char, 160> text;
    const auto end = fmt::format_to_n(text.data(), text.size(), "{}{}/{} {}s  {:.0f} {}s/s  ETA {}{}",
                                      terminal_ ? kEraseLine : "", done, all, token, per_s, token,
                                      std::string_view(eta.text.data(), eta.size), terminal_ ? "" : "\n");
    write_all({text.data(), std::min(end.size, text.size())});
    line_open_ = terminal_;
}

void Console::finish_line() {
    if (line_open_) write_all("\n");
    line_open_ = false;
}

}  // namespace adder
