#include "apps/signals.h"

#include <array>
#include <csignal>

namespace adder {

namespace {

// A handler has no argument to reach anything else by.
std::atomic<bool> arrived{false};
static_assert(std::atomic<bool>::is_always_lock_free);

constexpr std::array<int, 3> kStopping{SIGINT, SIGTERM, SIGHUP};

// A hang-up that is ignored, as behind nohup, stays that.
bool is_ignored(int signal) {
    struct sigaction action {};
    return signal == SIGHUP && sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

void handle(void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (const int signal : kStopping)
        if (!is_ignored(signal)) sigaction(signal, &action, nullptr);
}

void remember(int) {
    arrived = true;
    // Whichever comes next ends the process.
    handle(SIG_DFL);
}

}  // namespace

StopSignals::StopSignals() {
    arrived = false;
    handle(remember);
}

StopSignals::~StopSignals() { handle(SIG_DFL); }

const std::atomic<bool>& StopSignals::flag() const { return arrived; }

}  // namespace adder
