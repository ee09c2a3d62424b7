// SIGINT and SIGTERM ask a run to stop; it looks between tiles.
#pragma once
#include <atomic>

namespace adder {

// While one lives, the first SIGINT or SIGTERM only sets a flag and the second has its usual effect. One at a time.
class StopSignals {
  public:
    StopSignals();
    ~StopSignals();
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;

    // True once a signal has arrived.
    const std::atomic<bool>& flag() const;
};

}  // namespace adder
