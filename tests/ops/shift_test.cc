#include "kernels/shift/shift.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/threads.h"

namespace adder {
namespace {

struct OnCpu {
    OnCpu() { ctx.pool = &pool, ctx.scratch = &scratch; }
    ThreadPool pool{2};
    Arena scratch;
    Ctx ctx;
};

TEST(Shift, flags_of_groups_are_those_of_their_first_steps) {
    OnCpu cpu;
    const int64_t B = 2, T = 11, every = 4;
    const Tensor start(DType::u8, {B, T}), groups(DType::u8, {B, 3});
    auto* flag = start.ref().ptr<uint8_t>("start");
    flag[0] = flag[8] = flag[T + 4] = 1;
    group_starts(cpu.ctx, start, every, groups);
    const auto* g = groups.ref().ptr<uint8_t>("groups");
    EXPECT_THAT(std::vector<int>(g, g + 6), testing::ElementsAre(1, 0, 1, 0, 1, 0));
    flag[T + 5] = 1;
    EXPECT_THROW(group_starts(cpu.ctx, start, every, groups), Error);
    const Tensor wrong(DType::u8, {B, 2});
    EXPECT_THROW(group_starts(cpu.ctx, start, every, wrong), Error);
}

TEST(Shift, one_step_may_read_the_state_alone) {
    OnCpu cpu;
    const Tensor before(DType::f32, {2, 1, 3}), y(DType::f32, {2, 1, 3});
    for (int i = 0; i < 6; ++i) before.ref().ptr<float>("before")[i] = static_cast<float>(i + 1);
    shift_forward(cpu.ctx, {{}, {}, before}, y, {});
    EXPECT_EQ(y.ref().ptr<float>("y")[5], 6);
    EXPECT_THROW(shift_forward(cpu.ctx, {{}, {}, before}, y, before), Error);
    const Tensor two(DType::f32, {2, 2, 3});
    EXPECT_THROW(shift_forward(cpu.ctx, {{}, {}, before}, two, {}), Error);
}

}  // namespace
}  // namespace adder
