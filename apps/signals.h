// SIGINT, SIGTERM and SIGHUP, a terminal that closes, ask a run to stop; it looks between tiles.
#pragma once
#include <atomic>

namespace adder {

// While one lives, the first of these signals only sets a flag and the second has its usual effect; SIGHUP
// does nothing where it is ignored already (nohup). One at a time.
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
