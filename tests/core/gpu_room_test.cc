// Who holds the memory of a GPU is said where it is not there.
#include "core/gpu_room.h"

#include <gtest/gtest.h>

namespace adder {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

TEST(GpuRoom, others_are_named_where_much_is_not_free) {
    EXPECT_EQ(others_text({"NVIDIA X", 3 * kGiB / 2, 80 * kGiB}),
              "; 1.50 GiB of 80.00 GiB are free on NVIDIA X, other programs hold the rest");
    EXPECT_EQ(others_text({"NVIDIA X", 79 * kGiB, 80 * kGiB}), "") << "a context is nobody else's";
    EXPECT_NE(others_text({"NVIDIA X", 40 * kGiB, 80 * kGiB}), "");
}

TEST(GpuRoom, a_gpu_that_does_not_answer_gets_no_numbers) {
    EXPECT_EQ(text_of({}), "the GPU does not say how much is free");
    EXPECT_EQ(others_text({}), "");
}

}  // namespace
}  // namespace adder
