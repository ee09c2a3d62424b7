// The checks that every op passes, on its own table of cases. No test framework: `adder selftest` runs four of them; some
// that only tests run are in tests/ops/more_checks.h.
#pragma once
#include <string>
#include <vector>

#include "kernels/common/op_instance.h"

namespace adder {

// What checks found. A ratio is error / allowed error, so that a gate that has become slack is seen too.
struct CheckReport {
    int64_t comparisons = 0;
    double worst_ratio = 0;
    std::string worst_at;
    std::vector<std::string> failures;  // one line each; empty = passed

    bool passed() const { return comparisons > 0 && failures.empty(); }
    void add(const CheckReport& other);
    void note(double ratio, const std::string& at);
};

// Largest allowed error of an output against the f64 reference, as fractions of its rms: twice the rms error and four
// times the largest error of the reference in float, whose results are rounded once to the storage type (so is what it
// keeps for backward, where the op keeps that in storage); not below `rms`, `peak`, never above `cap`. In bf16 that goes
// for S-typed results too: their sums are f32, but the operands that tensor cores multiply are rounded.
// An element farther from zero than `outlier` rms is judged by its own size: the last bit of an element of 64 rms is more
// than the floor of an f32 peak error, and in bf16, where the peak of pure rounding is as far above the rms as the largest
// element, every one above the rms is; passing would be luck.
struct Tolerance {
    double rms = 5e-7, peak = 5e-6, cap = 1e-4;
    double outlier = 16;
};
constexpr Tolerance tolerance_of(DType storage) {
    if (storage != DType::bf16) return {};
    return {.rms = 0x1p-8, .peak = 0x1p-8, .cap = 2e-2, .outlier = 1};
}

// The op against the reference in double: forward and backward, on the CPU on the instruction set in use, with
// contiguous and with strided arguments; a second run has the same bits; inputs keep theirs; nothing outside
// an array is written.
CheckReport check_values(const OpCase& c, const RunOn& on = {});
// The f64 op equals the reference in double (relative 1e-12).
CheckReport check_f64(const OpCase& c);
// 1, 2, 3 and 7 threads give equal bits.
CheckReport check_threads(const OpCase& c);

// For ops with time:
// Relative rms: 1e-12 in f64, 1e-5 in f32, 2e-2 in bf16. On the CPU in f64 and f32, whatever `on` says.
// Two calls that hand the state over at a cut equal one call, forward and backward, for several cuts.
CheckReport check_cuts(const OpCase& c, const RunOn& on = {});
// Every packed member equals the member on its own.
CheckReport check_packed(const OpCase& c, const RunOn& on = {});
// L single steps equal one call, and a row's step has the bits that it has alone.
CheckReport check_steps(const OpCase& c, const RunOn& on = {});
// check_values with batch and time strides past 2^31 elements, for cases with kHuge.
CheckReport check_huge_strides(const OpCase& c);

// Shared by the files of the checks.
// One array under the calibrated tolerance; `name` is said after `at`.
void judge(const std::string& at, const std::string& name, const std::vector<double>& got,
           const std::vector<double>& in_float, const std::vector<double>& expected, const Tolerance& tolerance,
           CheckReport& report);
double rms(const std::vector<double>& v);  // 0 of nothing
struct Errors {
    double rms = 0, peak = 0;  // relative to the rms of what is expected; peak: outliers relative to themselves
};
Errors errors_of(const std::vector<double>& got, const std::vector<double>& expected,
                 double outlier = Tolerance().outlier);

}  // namespace adder
