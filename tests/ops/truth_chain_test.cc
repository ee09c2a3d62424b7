// The truth chain, for every case of every op in the table.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "kernels/common/isa.h"
#include "kernels/common/op_table.h"
#include "tests/ops/more_checks.h"

namespace adder {
namespace {

template <CheckReport (*check)(const OpCase&, const RunOn&)>
CheckReport on_cpu(const OpCase& c) {
    return check(c, {});
}

class TruthChain : public testing::TestWithParam<OpEntry> {
  protected:
    ~TruthChain() override { force_isa(""); }

    // Every case flagged `use` that `has` accepts; at least one, or the test could not fail.
    void run(CheckReport (*check)(const OpCase&), unsigned use, bool (*has)(const OpCase&) = nullptr) {
        CheckReport report;
        for (const OpCase& c : GetParam().cases())
            if ((c.use & use) && (!has || has(c))) report.add(check(c));
        for (const std::string& f : report.failures) ADD_FAILURE() << f;
        EXPECT_GT(report.comparisons, 0) << "no case of " << GetParam().name << " was checked";
        if (report.worst_ratio > 0)
            std::printf("  %s: worst error / allowed %.2f at %s\n", GetParam().name, report.worst_ratio,
                        report.worst_at.c_str());
    }
};

bool has_starts(const OpCase& c) {
    for (const ArraySpec& s : c.inputs)
        if (s.fill == Fill::starts) return true;
    return false;
}
bool has_step(const OpCase& c) {
    return static_cast<bool>(c.step);
}
bool has_time(const OpCase& c) {
    return c.sequence;
}
bool has_backward(const OpCase& c) {
    return static_cast<bool>(c.backward);
}
bool is_short(const OpCase& c) {
    return c.L <= 300;
}
bool is_huge(const OpCase& c) {
    return c.use & kHuge;
}

TEST_P(TruthChain, every_isa_matches_the_reference_in_double) {
    for (const std::string& isa : available_isas()) {
        force_isa(isa);
        EXPECT_EQ(current_isa(), isa);
        std::printf("  %s\n", isa.c_str());
        run(on_cpu<check_values>, kTest);
    }
}
TEST_P(TruthChain, f64_is_the_reference) {
    run(check_f64, kTest);
}
TEST_P(TruthChain, threads_do_not_change_bits) {
    run(check_threads, kTest);
}
TEST_P(TruthChain, wrong_shapes_are_named) {
    run(on_cpu<check_errors>, kTest);
}

// Ops to which a claim applies.
std::vector<OpEntry> ops_with(bool (*has)(const OpCase&)) {
    std::vector<OpEntry> some;
    for (const OpEntry& e : all_ops())
        for (const OpCase& c : e.cases())
            if (has(c)) {
                some.push_back(e);
                break;
            }
    return some;
}
std::string name_of_op(const testing::TestParamInfo<OpEntry>& info) {
    return info.param.name;
}

class Nan : public TruthChain {};
TEST_P(Nan, is_neither_hidden_nor_spread) {
    run(on_cpu<check_nan>, kTest, [](const OpCase& c) { return can_hold_nan(c) && is_short(c); });
}

class Gradients : public TruthChain {};
TEST_P(Gradients, reference_equals_the_complex_step) {
    run(check_gradients, kGrad);
}

class Time : public TruthChain {};
TEST_P(Time, cutting_changes_nothing) {
    run(on_cpu<check_cuts>, kTest, has_time);
}

class Packing : public TruthChain {};
TEST_P(Packing, members_do_not_see_each_other) {
    run(on_cpu<check_packed>, kTest, has_starts);
}

class Steps : public TruthChain {};
TEST_P(Steps, equal_one_call) {
    run(on_cpu<check_steps>, kTest, [](const OpCase& c) { return has_step(c) && is_short(c); });
}

class HugeStrides : public TruthChain {};
TEST_P(HugeStrides, offsets_past_2_31_are_right) {
    run(check_huge_strides, kHuge);
}

INSTANTIATE_TEST_SUITE_P(Ops, TruthChain, testing::ValuesIn(all_ops().begin(), all_ops().end()), name_of_op);
INSTANTIATE_TEST_SUITE_P(Ops, Nan, testing::ValuesIn(ops_with(can_hold_nan)), name_of_op);
INSTANTIATE_TEST_SUITE_P(Ops, Gradients, testing::ValuesIn(ops_with(has_backward)), name_of_op);
INSTANTIATE_TEST_SUITE_P(Ops, Time, testing::ValuesIn(ops_with(has_time)), name_of_op);
INSTANTIATE_TEST_SUITE_P(Ops, Packing, testing::ValuesIn(ops_with(has_starts)), name_of_op);
INSTANTIATE_TEST_SUITE_P(Ops, Steps, testing::ValuesIn(ops_with(has_step)), name_of_op);
INSTANTIATE_TEST_SUITE_P(Ops, HugeStrides, testing::ValuesIn(ops_with(is_huge)), name_of_op);
// An op may have no such claim while others do.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Packing);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Steps);

}  // namespace
}  // namespace adder
