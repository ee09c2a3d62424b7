// What is computed in tiles finds a tile for which there is memory.
#include "apps/scoring.h"

#include <gtest/gtest.h>

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
    EXPECT_EQ(make_with_room(4096, kLeastScoreTile, std::ref(room)), 1024);
    EXPECT_EQ(room.tried, (std::vector<int64_t>{4096, 2048, 1024}));
    ASSERT_EQ(log.lines.size(), 2u);
    EXPECT_EQ(log.lines[1],
              "out of GPU memory: scratch needs 2.00 GiB, 1.00 GiB are free; trying tiles of 1024 tokens");
}

TEST(MakeWithRoom, a_tile_that_fits_is_taken_without_a_word) {
    Log log;
    EXPECT_EQ(make_with_room(4096, kLeastScoreTile, Room{4096}), 4096);
    EXPECT_TRUE(log.lines.empty());
}

TEST(MakeWithRoom, does_not_go_below_the_least_and_leaves_a_tile_that_was_asked_for) {
    Room none{0}, asked{2048};
    EXPECT_THROW(make_with_room(4096, kLeastScoreTile, std::ref(none)), OutOfMemory);
    EXPECT_EQ(none.tried.back(), kLeastScoreTile);
    EXPECT_THROW(make_with_room(4096, 4096, std::ref(asked)), OutOfMemory);
    EXPECT_EQ(asked.tried, std::vector<int64_t>{4096});
}

TEST(MakeWithRoom, a_failed_device_is_not_tried_again) {
    int64_t tries = 0;
    const auto broken = [&](int64_t) -> int64_t {
        ++tries;
        throw DeviceError("CUDA: copy");
    };
    EXPECT_THROW(make_with_room(4096, kLeastScoreTile, broken), DeviceError);
    EXPECT_EQ(tries, 1);
}

}  // namespace
}  // namespace adder
