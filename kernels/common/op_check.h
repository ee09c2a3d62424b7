// The checks that every op passes, on its own table of cases. No test framework: `adder selftest` runs them
// too.
#pragma once
#include <string>
#include <vector>

#include "kernels/common/op_case.h"

namespace adder {

// What checks found. A ratio is error / allowed error, so that a gate that has become slack is seen too.
struct CheckReport {
    int64_t comparisons = 0;
    double worst_ratio = 0;
    std::string worst_at;
    std::vector<std::string> failures;  // one line each; empty = passed

    bool passed() const { return comparisons > 0 && failures.empty(); }
    void add(const CheckReport& other);
};

// Largest allowed error of an f32 output against the f64 reference, as fractions of its rms: twice the rms
// error and four times the largest error of the reference in float, not below `rms`, `peak`, never above
// `cap`.
struct ToleranceFloor {
    double rms = 5e-7, peak = 5e-6, cap = 1e-4;
};

// The f32 op against the reference in double: forward and backward, on the instruction set in use, with
// contiguous and with strided arguments; a second run has the same bits; inputs keep theirs; nothing outside
// an array is written.
CheckReport check_values(const OpCase& c);
// The same with this number of threads instead of two.
CheckReport check_values_on(const OpCase& c, int threads);
// The f64 op equals the reference in double (relative 1e-12).
CheckReport check_f64(const OpCase& c);
// The reference's backward against the complex step of its forward (relative 1e-10): one random direction for
// each differentiable argument and 16 single elements of it.
CheckReport check_gradients(const OpCase& c);
// 1, 2, 3 and 7 threads give equal bits.
CheckReport check_threads(const OpCase& c);
// A NaN in an input or cotangent comes out wherever the reference lets it out, and in no other row and past
// no start.
CheckReport check_nan(const OpCase& c);
// Wrong shapes throw an Error with both shapes in the text; bf16 names the device that has it.
CheckReport check_errors(const OpCase& c);

// For ops with time:
// Two calls that hand the state over at a cut equal one call, forward and backward, in f32 and f64, for
// several cuts.
CheckReport check_cuts(const OpCase& c);
// Every packed member equals the member on its own.
CheckReport check_packed(const OpCase& c);
// L single steps equal one call, and a row's step has the bits that it has alone.
CheckReport check_steps(const OpCase& c);
// check_values with batch and time strides past 2^31 elements, for cases with kHuge.
CheckReport check_huge_strides(const OpCase& c);

// Shared by the files of the checks.
struct Errors {
    double rms = 0, peak = 0;  // relative to the rms of what is expected; peak: outliers relative to themselves
};
Errors errors_of(const std::vector<double>& got, const std::vector<double>& expected);

}  // namespace adder
