#include "apps/signals.h"

#include <csignal>

#include "core/error.h"

namespace adder {

namespace {

// A handler has no argument to reach anything else by.
std::atomic<bool> arrived{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void remember(int) {
    arrived = true;
    // Whichever of the two comes next ends the process.
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
}

}  // namespace

StopSignals::StopSignals() {
    arrived = false;
    struct sigaction action {};
    action.sa_handler = remember;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGINT, &action, nullptr) == 0);
    CHECK(sigaction(SIGTERM, &action, nullptr) == 0);
}

StopSignals::~StopSignals() {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
}

const std::atomic<bool>& StopSignals::flag() const { return arrived; }

}  // namespace adder
