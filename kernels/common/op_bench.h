// Timing of an op's cases, and of its reference in float on the same numbers.
#pragma once
#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/common/op_case.h"
#include "kernels/common/run_op.h"

namespace adder {

struct OpTime {
    double best_ms = 0, median_ms = 0;  // 0 = not measured
};

// Of `runs` runs, after one that is not counted; a run repeats `f` until it takes 2 ms, far above the clock's grain.
template <class F>
OpTime time_of(int64_t runs, F f) {
    using Clock = std::chrono::steady_clock;
    auto run = [&](int64_t times) {
        const auto begin = Clock::now();
        for (int64_t i = 0; i < times; ++i) f();
        return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    };
    const double once = run(1);
    const auto times = static_cast<int64_t>(std::clamp(2 / std::max(once, 1e-6), 1.0, 1e5));
    std::vector<double> ms;
    for (int64_t i = 0; i < runs; ++i) ms.push_back(run(times) / static_cast<double>(times));
    std::sort(ms.begin(), ms.end());
    return {ms.front(), ms[ms.size() / 2]};
}

struct OpTiming {
    OpCost cost_forward, cost_backward;    // summed over the public calls of the pass
    OpTime forward, backward;              // the public op in f32
    OpTime ref_forward, ref_backward;      // the reference as the library is built
    OpTime plain_forward, plain_backward;  // the reference with -fno-tree-vectorize
};

// Runs in `pool`; the reference is single-threaded. Allocates its own memory. Every time is the best and the median of
// `runs` runs.
OpTiming time_case(const OpCase& c, ThreadPool& pool, int64_t runs = 7);

}  // namespace adder
