// Standard error: log lines, warnings, and the progress of a run. On a terminal progress is one line that is rewritten;
// elsewhere it is a plain line now and then.
#pragma once
#include <chrono>
#include <cstdint>
#include <string_view>

namespace adder {

struct ProgressState {
    int64_t step = 0, steps = 0;
    double loss = 0;          // nats per token
    double tokens_per_s = 0;
    double eta_s = 0;         // seconds to the end
};

class Console {
  public:
    // Writes to `fd`; `terminal` says whether its lines can be rewritten.
    Console(int fd, bool terminal) : fd_(fd), terminal_(terminal) {}
    ~Console() { finish_line(); }
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    // One line; the progress line moves below it.
    void line(std::string_view text);
    // Shows `state` if the last one shown is old enough: 0.1 s on a terminal, 10 s and a twentieth of the run
    // elsewhere; the first and the last step always. Allocates nothing.
    void progress(const ProgressState& state);
    // The same for work that is counted in tokens: `done` of `all`, `seconds` after its begin.
    void work(int64_t done, int64_t all, const char* token, double seconds);
    // Leaves the progress line as it is and goes to the next line.
    void finish_line();

  private:
    int fd_;
    bool terminal_;
    bool line_open_ = false;
    int64_t shown_step_ = -1;
    std::chrono::steady_clock::time_point shown_{};
    bool due(int64_t step, int64_t steps);
    void write_all(std::string_view text);
};

}  // namespace adder
