#include "apps/console.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <limits>
#include <stdexcept>
#include <string>

#include "apps/signals.h"

namespace adder {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

// What `use` makes a console write.
template <class F>
std::string written(bool terminal, F use) {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) throw std::runtime_error("pipe");
    {
        Console console(ends[1], terminal);
        use(console);
    }
    close(ends[1]);
    std::string text;
    std::array<char, 4096> part;
    for (ssize_t n; (n = read(ends[0], part.data(), part.size())) > 0;)
        text.append(part.data(), static_cast<size_t>(n));
    close(ends[0]);
    return text;
}

ProgressState at(int64_t step) {
    return {.step = step, .steps = 1000, .loss = 1.38629, .tokens_per_s = 12345.6, .eta_s = 3725};
}

TEST(Console, progress_off_a_terminal_is_the_first_and_last_line_of_a_quick_run) {
    const std::string text = written(false, [](Console& c) {
        for (int64_t step = 1; step <= 1000; ++step) c.progress(at(step));
    });
    EXPECT_EQ(text,
              "step 1/1000  loss 1.3863  12346 tokens/s  ETA 1:02:05\n"
              "step 1000/1000  loss 1.3863  12346 tokens/s  ETA 1:02:05\n");
}

TEST(Console, progress_on_a_terminal_is_one_line_rewritten) {
    const std::string text = written(true, [](Console& c) {
        c.progress(at(1));
        c.progress(at(1000));
    });
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
    EXPECT_THAT(text, StartsWith("\r\x1b[K"));
    EXPECT_THAT(text, HasSubstr("\r\x1b[Kstep 1000/1000"));
    EXPECT_THAT(text, EndsWith("\n"));
}

TEST(Console, a_log_line_takes_the_place_of_the_progress_line) {
    const std::string text = written(true, [](Console& c) {
        c.progress(at(1));
        c.line("saved");
    });
    EXPECT_THAT(text, EndsWith("\r\x1b[Ksaved\n"));
}

TEST(Console, a_loss_that_is_not_a_number_is_shown) {
    const std::string text = written(false, [](Console& c) {
        ProgressState state = at(1);
        state.loss = std::numeric_limits<double>::quiet_NaN();
        state.eta_s = std::numeric_limits<double>::infinity();
        c.progress(state);
    });
    EXPECT_THAT(text, HasSubstr("loss nan"));
}

TEST(StopSignals, the_first_signal_only_sets_the_flag) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        StopSignals stop;
        EXPECT_FALSE(stop.flag());
        std::raise(signal);
        EXPECT_TRUE(stop.flag());
    }
}

TEST(StopSignals, a_hang_up_that_is_ignored_stays_so) {
    EXPECT_EXIT(
        {
            std::signal(SIGHUP, SIG_IGN);
            {
                StopSignals stop;
                std::raise(SIGHUP);
                if (stop.flag()) std::_Exit(1);
            }
            std::raise(SIGHUP);
            std::_Exit(0);
        },
        testing::ExitedWithCode(0), "");
}

TEST(StopSignals, the_second_signal_ends_the_process) {
    EXPECT_EXIT(
        {
            StopSignals stop;
            std::raise(SIGHUP);
            std::raise(SIGINT);
        },
        testing::KilledBySignal(SIGINT), "");
}

TEST(StopSignals, a_signal_after_its_life_has_its_usual_effect) {
    EXPECT_EXIT(
        {
            { StopSignals stop; }
            std::raise(SIGTERM);
        },
        testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace adder
