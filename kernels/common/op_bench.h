// Timing of an op's cases; on the CPU of its reference in float on the same numbers too.
#pragma once
#include <algorithm>
#include <chrono>
#include <optional>
#include <vector>

#include "core/device.h"
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
    OpCost cost_forward, cost_backward, cost_step;  // summed over the public calls of the pass
    OpTime forward, backward, step;                 // the public op; step: on a GPU, and then nothing else
    OpTime ref_forward, ref_backward;      // the reference as the library is built
    OpTime plain_forward, plain_backward;  // the reference with -fno-tree-vectorize
};

// What the calls of a pass cost, and their scratch, which is counted in the context's arena.
OpCost planned_cost(const std::function<void(Ctx&, TensorBag&)>& pass, Ctx& ctx, TensorBag& bag);

// In f32. Runs in `pool`; the reference is single-threaded. Allocates its own memory. Every time is the best and the
// median of `runs` runs.
OpTiming time_case(const OpCase& c, ThreadPool& pool, int64_t runs = 7);

// What a GPU can do at best.
struct GpuLimits {
    double copy_bytes_per_s = 0;  // measured: read and written bytes of a large copy
    double flops_per_s = 0;       // of this storage type, from the maker's tables; 0 = not known
};
GpuLimits limits_of(Gpu& gpu, DType storage);
// Milliseconds below which no program can get.
double floor_ms(const GpuLimits& limits, const OpCost& cost);

// On a GPU, by events around each run, whose launches are recorded as one graph where the op allows that;
// caches are swept before every run, by writing twice their size. Of a case of one step the step is timed, of
// others the passes. The numbers are made on the device. Nothing when the case does not fit into its free
// memory. No reference is timed.
std::optional<OpTiming> time_case_on(Gpu& gpu, const OpCase& c, DType storage, int64_t runs = 7);

}  // namespace adder
