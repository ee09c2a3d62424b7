#include "apps/signals.h"

#include <csignal>

#include "core/error.h"

namespace adder {

namespace {

// A handler has no argument to reach anything else by.
volatile std::sig_atomic_t received_signal = 0;

void remember(int signal) {
    received_signal = signal;
    // Whichever of the two comes next ends the process.
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
}

}  // namespace

StopSignals::StopSignals() {
    received_signal = 0;
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

int StopSignals::received() const { return received_signal; }

}  // namespace adder
