// What may be made smaller finds a size for which there is memory, or says it.
#include "core/with_room.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace adder {
namespace {

// Makes its tile where that is at most `room`.
struct Room {
    int64_t room;
    std::vector<int64_t> tried = {};
    int64_t operator()(int64_t tile) {
        tried.push_back(tile);
        if (tile > room) throw OutOfMemory("out of GPU memory: scratch needs 2.00 GiB, 1.00 GiB are free");
        return tile;
    }
};

struct Log {
    Log() {
        set_log_sink([this](LogLevel, std::string_view line) { lines.emplace_back(line); });
    }
    ~Log() { set_log_sink(nullptr); }
    std::vector<std::string> lines;
};

TEST(MakeWithRoom, halves_the_tile_until_it_fits_and_says_so) {
    Log log;
    Room room{1500};
    EXPECT_EQ(make_with_room("--tile", 4096, 1024, std::ref(room)), 1024);
    EXPECT_EQ(room.tried, (std::vector<int64_t>{4096, 2048, 1024}));
    ASSERT_EQ(log.lines.size(), 2u);
    EXPECT_EQ(log.lines[1],
              "out of GPU memory: scratch needs 2.00 GiB, 1.00 GiB are free; trying --tile 1024");
}

TEST(MakeWithRoom, a_tile_that_fits_is_taken_without_a_word) {
    Log log;
    EXPECT_EQ(make_with_room("--tile", 4096, 1024, Room{4096}), 4096);
    EXPECT_TRUE(log.lines.empty());
}

std::string error_of(int64_t least, Room& room) {
    try {
        make_with_room("--tile", 4096, least, std::ref(room));
    } catch (const OutOfMemory& e) {
        return e.what();
    }
    return "none";
}

TEST(MakeWithRoom, what_was_asked_for_stays_and_the_error_says_what_fits) {
    Log log;
    Room room{1500};
    EXPECT_EQ(error_of(4096, room), "out of GPU memory: scratch needs 2.00 GiB, 1.00 GiB are free; --tile 1024 fits");
    EXPECT_EQ(room.tried, (std::vector<int64_t>{4096, 2048, 1024}));
    EXPECT_TRUE(log.lines.empty());
}

TEST(MakeWithRoom, does_not_go_below_the_least_but_says_whether_it_would_do) {
    Room little{600}, none{0};
    EXPECT_TRUE(error_of(1024, little).ends_with("; --tile 512 fits"));
    EXPECT_TRUE(error_of(1024, none).ends_with("are free"));
    EXPECT_EQ(none.tried.back(), 1);
}

TEST(MakeWithRoom, a_failed_device_is_not_tried_again) {
    int64_t tries = 0;
    const auto broken = [&](int64_t) -> int64_t {
        ++tries;
        throw DeviceError("CUDA: copy");
    };
    EXPECT_THROW(make_with_room("--tile", 4096, 1024, broken), DeviceError);
    EXPECT_EQ(tries, 1);
}

}  // namespace
}  // namespace adder
