// The CUDA twin of every op against the reference in double, on every case of the op, in f32 and in bf16.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "kernels/common/op_table.h"
#include "kernels/common/shared_memory.h"
#include "tests/ops/more_checks.h"

namespace adder {
namespace {

struct OpOnGpu {
    OpEntry op;
    DType storage;
    friend void PrintTo(const OpOnGpu& t, std::ostream* to) { *to << t.op.name << ", " << name_of(t.storage); }
};

using Check = CheckReport (*)(const OpCase&, const RunOn&);

bool is_test(const OpCase& c) {
    return c.use & kTest;
}
bool is_small(const OpCase& c) {
    return c.use & kSanitize;
}
bool is_short_test(const OpCase& c) {
    return is_test(c) && c.L <= 300;
}

// Planning needs no GPU.
class PlanOnCuda : public testing::TestWithParam<OpOnGpu> {
  protected:
    // A case that throws ends the op: after a failed kernel nothing more can be learnt.
    void run(Check check, const std::vector<OpCase>& cases, const RunOn& on) {
        CheckReport report;
        for (const OpCase& c : cases) {
            try {
                report.add(check(c, on));
            } catch (const std::exception& e) {
                report.failures.push_back(c.title() + ": " + e.what());
                break;
            }
        }
        EXPECT_GT(report.comparisons + std::ssize(report.failures), 0) << "no case was checked";
        constexpr size_t kShown = 10;
        for (size_t i = 0; i < std::min(kShown, report.failures.size()); ++i) ADD_FAILURE() << report.failures[i];
        if (report.failures.size() > kShown) ADD_FAILURE() << report.failures.size() - kShown << " more";
        if (report.worst_ratio <= 0) return;
        std::printf("  %s %s: worst error / allowed %.2f at %s\n", GetParam().op.name, name_of(on.storage),
                    report.worst_ratio, report.worst_at.c_str());
        RecordProperty("worst_ratio", fmt::format("{:.3f}", report.worst_ratio));
        RecordProperty("worst_at", report.worst_at);
    }
    std::vector<OpCase> cases(bool (*chosen)(const OpCase&)) const {
        std::vector<OpCase> some;
        for (OpCase& c : GetParam().op.cases())
            if (chosen(c) && (GetParam().storage == DType::f32 || has_storage(c))) some.push_back(std::move(c));
        return some;
    }
    RunOn on() const { return {.storage = GetParam().storage, .device = Device::cuda}; }
};

TEST_P(PlanOnCuda, wrong_shapes_are_named) {
    run(check_errors, cases(is_test), on());
}

class CudaOps : public PlanOnCuda {
  protected:
    static void SetUpTestSuite() {
        if (gpu_problem().empty()) gpu_ = std::make_unique<Gpu>();
    }
    static void TearDownTestSuite() { gpu_.reset(); }
    void SetUp() override {
        if (!gpu_) GTEST_SKIP() << "skipped: no GPU: " << gpu_problem();
    }
    RunOn on() const {
        RunOn r = PlanOnCuda::on();
        r.gpu = gpu_.get();
        return r;
    }
    // Few and small, each array in memory of its own: for compute-sanitizer, under which everything is slow.
    void run_small() {
        const std::vector<OpCase> some = cases(is_small);
        RunOn once = on();
        once.repeat = false;
        once.exact = true;
        run(check_values, some, once);
        const auto steps = std::find_if(some.begin(), some.end(), [](const OpCase& c) { return bool(c.step); });
        if (steps != some.end()) run(check_steps, {*steps}, once);
    }

  private:
    static std::unique_ptr<Gpu> gpu_;
};
std::unique_ptr<Gpu> CudaOps::gpu_;

TEST_P(CudaOps, match_the_reference_in_double) {
    run(check_values, cases(is_test), on());
}

// Ops to which a claim applies, in the storage types in which they differ.
std::vector<OpOnGpu> ops_with(bool (*has)(const OpCase&)) {
    std::vector<OpOnGpu> some;
    for (const OpEntry& e : all_ops()) {
        const std::vector<OpCase> all = e.cases();
        if (std::none_of(all.begin(), all.end(), has)) continue;
        some.push_back({e, DType::f32});
        if (std::any_of(all.begin(), all.end(), [&](const OpCase& c) { return has(c) && has_storage(c); }))
            some.push_back({e, DType::bf16});
    }
    return some;
}
bool has_time(const OpCase& c) {
    return is_test(c) && c.sequence;
}
bool has_starts(const OpCase& c) {
    return is_test(c) &&
           std::any_of(c.inputs.begin(), c.inputs.end(), [](auto& s) { return s.fill == Fill::starts; });
}
bool has_step(const OpCase& c) {
    return is_short_test(c) && c.step;
}

bool has_room_for_nan(const OpCase& c) {
    return is_short_test(c) && can_hold_nan(c);
}

class CudaNan : public CudaOps {};
TEST_P(CudaNan, is_neither_hidden_nor_spread) {
    run(check_nan, cases(has_room_for_nan), on());
}

class CudaTime : public CudaOps {};
TEST_P(CudaTime, cutting_changes_nothing) {
    run(check_cuts, cases(has_time), on());
}

class CudaPacking : public CudaOps {};
TEST_P(CudaPacking, members_do_not_see_each_other) {
    run(check_packed, cases(has_starts), on());
}

class CudaSteps : public CudaOps {};
TEST_P(CudaSteps, equal_one_call) {
    run(check_steps, cases(has_step), on());
}

class CudaSmall : public CudaOps {};
TEST_P(CudaSmall, cases_once) {
    run_small();
}

// With the shared memory that GPUs of compute capability 8.6, 8.9 and 12 let a block have. A launch that asks for more
// throws.
class CudaLittleShared : public CudaOps {
  protected:
    void SetUp() override {
        CudaOps::SetUp();
        lowered_.emplace(99 * 1024);
    }

  private:
    std::optional<cuda::LowerSharedBytes> lowered_;
};
TEST_P(CudaLittleShared, match_the_reference_in_double) {
    run(check_values, cases(is_test), on());
}
class CudaLittleSharedTime : public CudaLittleShared {};
TEST_P(CudaLittleSharedTime, cutting_changes_nothing) {
    run(check_cuts, cases(has_time), on());
}
class CudaLittleSharedPacking : public CudaLittleShared {};
TEST_P(CudaLittleSharedPacking, members_do_not_see_each_other) {
    run(check_packed, cases(has_starts), on());
}
class CudaLittleSharedSteps : public CudaLittleShared {};
TEST_P(CudaLittleSharedSteps, equal_one_call) {
    run(check_steps, cases(has_step), on());
}
class CudaLittleSharedSmall : public CudaLittleShared {};
TEST_P(CudaLittleSharedSmall, cases_once) {
    run_small();
}

// Ops that have other kernels then.
std::vector<OpOnGpu> scans() {
    std::vector<OpOnGpu> some;
    for (const OpOnGpu& t : ops_with(has_starts))
        if (std::string_view(t.op.name) == "scan" || std::string_view(t.op.name) == "ssd") some.push_back(t);
    return some;
}

std::string name_of_op(const testing::TestParamInfo<OpOnGpu>& t) {
    return fmt::format("{}_{}", t.param.op.name, name_of(t.param.storage));
}
INSTANTIATE_TEST_SUITE_P(, PlanOnCuda, testing::ValuesIn(ops_with(is_test)), name_of_op);
INSTANTIATE_TEST_SUITE_P(, CudaOps, testing::ValuesIn(ops_with(is_test)), name_of_op);
INSTANTIATE_TEST_SUITE_P(, CudaNan, testing::ValuesIn(ops_with(has_room_for_nan)), name_of_op);
INSTANTIATE_TEST_SUITE_P(, CudaTime, testing::ValuesIn(ops_with(has_time)), name_of_op);
INSTANTIATE_TEST_SUITE_P(, CudaPacking, testing::ValuesIn(ops_with(has_starts)), name_of_op);
INSTANTIATE_TEST_SUITE_P(, CudaSteps, testing::ValuesIn(ops_with(has_step)), name_of_op);
INSTANTIATE_TEST_SUITE_P(, CudaLittleShared, testing::ValuesIn(ops_with(is_test)), name_of_op);
INSTANTIATE_TEST_SUITE_P(, CudaLittleSharedTime, testing::ValuesIn(scans()), name_of_op);
INSTANTIATE_TEST_SUITE_P(, CudaLittleSharedPacking, testing::ValuesIn(scans()), name_of_op);
INSTANTIATE_TEST_SUITE_P(, CudaLittleSharedSmall, testing::ValuesIn(scans()), name_of_op);
INSTANTIATE_TEST_SUITE_P(, CudaLittleSharedSteps, testing::ValuesIn(ops_with(has_step)), name_of_op);
INSTANTIATE_TEST_SUITE_P(, CudaSmall, testing::ValuesIn(ops_with(is_small)), name_of_op);

}  // namespace
}  // namespace adder
