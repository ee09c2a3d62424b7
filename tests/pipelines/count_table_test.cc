#include "pipelines/count_table.h"

#include <gtest/gtest.h>

namespace adder {
namespace {

constexpr uint64_t k32Bits = 0xFFFFFFFF;

TEST(CountTable, no_count_starts_again_from_zero) {
    CountTable small(4), large(CountTable::kMostWide + 1);
    for (CountTable* t : {&small, &large}) {
        EXPECT_EQ((*t)[3], 0u);
        t->add(3);
        t->add(3, k32Bits - 2);
        EXPECT_EQ((*t)[3], k32Bits - 1);
        t->add(3);
        t->add(3);
        t->add(3, uint64_t{1} << 40);
        EXPECT_EQ((*t)[2], 0u);
    }
    EXPECT_EQ(small[3], k32Bits + 1 + (uint64_t{1} << 40));
    EXPECT_EQ(large[3], k32Bits);
    EXPECT_EQ(small.size(), 4u);
    EXPECT_EQ(large.size(), CountTable::kMostWide + 1);
}

}  // namespace
}  // namespace adder
